//! Tokens become an expression.
//!
//! ```text
//! any        = all { OR all }
//! all        = negation { AND negation }
//! negation   = { NOT } predicate
//! predicate  = sum [ ( = | <> | < | <= | > | >= ) sum
//!                  | [ NOT ] BETWEEN sum AND sum
//!                  | [ NOT ] IN ( literal { , literal } )
//!                  | [ NOT ] LIKE text [ ESCAPE text ]
//!                  | IS [ NOT ] NULL ]
//! sum        = product { ( + | - ) product }
//! product    = signed { ( * | / ) signed }
//! signed     = { + | - } ( literal | name | ( any ) )
//! ```

use super::{
    DEPTH_MAX, LENGTH_MAX, NODES_MAX,
    error::{Problem, SelectorError},
    expression::{Comparison, Expression, Literal, Operator},
    identifier::Identifier,
    lexer::{Kind, Lexer, Mark, Token, Word},
    like::Pattern,
};

/// Parses a whole selector; `None` when there is nothing but space.
pub(super) fn parse(text: &str) -> Result<Option<Expression>, SelectorError> {
    if text.len() > LENGTH_MAX {
        return Err(SelectorError::new(LENGTH_MAX, Problem::TooLong(text.len())));
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    if next.kind == Kind::End {
        return Ok(None);
    }
    let mut parser = Parser { lexer, next, depth: 0, nodes: 0 };
    let start = parser.next.clone();
    let condition = parser.any()?;
    if parser.next.kind != Kind::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    condition_at(condition, &start).map(Some)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    depth: u32,
    nodes: u32,
}

type Parsed = Result<Expression, SelectorError>;

impl<'a> Parser<'a> {
    fn any(&mut self) -> Parsed {
        self.chain(Word::Or, Self::all, Expression::Any)
    }

    fn all(&mut self) -> Parsed {
        self.chain(Word::And, Self::negation, Expression::All)
    }

    /// Conditions with `word` between them.
    fn chain(
        &mut self,
        word: Word,
        operand: fn(&mut Self) -> Parsed,
        join: fn(Box<[Expression]>) -> Expression,
    ) -> Parsed {
        let mut start = self.next.clone();
        let first = operand(self)?;
        if self.next.kind != Kind::Word(word) {
            return Ok(first);
        }
        let mut operands = vec![condition_at(first, &start)?];
        while self.take_word(word)? {
            start = self.next.clone();
            operands.push(condition_at(operand(self)?, &start)?);
        }
        Ok(join(operands.into()))
    }

    fn negation(&mut self) -> Parsed {
        let mut is_negated = false;
        let mut has_not = false;
        while self.take_word(Word::Not)? {
            is_negated = !is_negated;
            has_not = true;
        }
        let start = self.next.clone();
        let predicate = self.predicate()?;
        let predicate = if has_not { condition_at(predicate, &start)? } else { predicate };
        Ok(negated(is_negated, predicate))
    }

    fn predicate(&mut self) -> Parsed {
        let start = self.next.clone();
        let left = self.sum()?;
        if let Some(comparison) = self.comparison() {
            return self.compare(comparison, left, &start);
        }
        if self.take_word(Word::Is)? {
            let is_negated = self.take_word(Word::Not)?;
            self.expect_word(Word::Null, if is_negated { "NULL" } else { "NULL or NOT NULL" })?;
            return Ok(negated(is_negated, Expression::IsNull(Box::new(left))));
        }
        let is_negated = self.take_word(Word::Not)?;
        match self.next.kind {
            Kind::Word(Word::Between) => self.between(is_negated, left, &start),
            Kind::Word(Word::In) => Ok(negated(is_negated, self.within(left)?)),
            Kind::Word(Word::Like) => Ok(negated(is_negated, self.like(left, &start)?)),
            _ if is_negated => Err(self.unexpected("BETWEEN, IN or LIKE")),
            _ => Ok(left),
        }
    }

    fn comparison(&self) -> Option<Comparison> {
        let Kind::Mark(mark) = self.next.kind else { return None };
        Some(match mark {
            Mark::Equal => Comparison::Equal,
            Mark::NotEqual => Comparison::NotEqual,
            Mark::Less => Comparison::Less,
            Mark::LessOrEqual => Comparison::LessOrEqual,
            Mark::Greater => Comparison::Greater,
            Mark::GreaterOrEqual => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    fn compare(&mut self, comparison: Comparison, left: Expression, start: &Token<'_>) -> Parsed {
        self.advance()?;
        self.count()?;
        let second = self.next.clone();
        let right = self.sum()?;
        if self.comparison().is_some() {
            return Err(self.unexpected("AND, OR or the end behind a comparison"));
        }
        let operands = if comparison.is_ordering() {
            // JMS 3.8.1.1: "String and Boolean comparison is restricted to = and <>."
            [number_at(left, start)?, number_at(right, &second)?]
        } else {
            [left, right]
        };
        Ok(Expression::Compare(comparison, Box::new(operands)))
    }

    fn between(&mut self, is_negated: bool, left: Expression, start: &Token<'_>) -> Parsed {
        self.advance()?;
        self.count()?;
        let value = number_at(left, start)?;
        let at = self.next.clone();
        let lowest = number_at(self.sum()?, &at)?;
        self.expect_word(Word::And, "AND and the upper end of BETWEEN")?;
        let at = self.next.clone();
        let highest = number_at(self.sum()?, &at)?;
        let operands = Box::new([value, lowest, highest]);
        Ok(if is_negated { Expression::NotBetween(operands) } else { Expression::Between(operands) })
    }

    fn within(&mut self, left: Expression) -> Parsed {
        self.advance()?;
        self.expect_mark(Mark::Open, "( and the values of IN")?;
        let mut literals = vec![self.listed()?];
        while self.next.kind == Kind::Mark(Mark::Comma) {
            self.advance()?;
            literals.push(self.listed()?);
        }
        self.expect_mark(Mark::Close, ", or )")?;
        Ok(Expression::In(Box::new(left), literals.into()))
    }

    /// A literal of the list of `IN`, which may have a sign.
    fn listed(&mut self) -> Result<Literal, SelectorError> {
        let at = self.next.clone();
        match self.signed()? {
            Expression::Literal(literal @ (Literal::Text(_) | Literal::Integer(_) | Literal::Real(_))) => {
                Ok(literal)
            }
            _ => Err(SelectorError::expected(at.offset, "a text or a number", at.text)),
        }
    }

    fn like(&mut self, left: Expression, start: &Token<'_>) -> Parsed {
        self.advance()?;
        self.count()?;
        if !left.can_be_text() {
            return Err(SelectorError::expected(start.offset, "a name or a text before LIKE", start.text));
        }
        let at = self.next.offset;
        let pattern = self.text("a pattern in single quotes")?;
        let escape = if self.take_word(Word::Escape)? { Some(self.escape()?) } else { None };
        let pattern = Pattern::new(&pattern, escape).map_err(|problem| SelectorError::new(at, problem))?;
        Ok(Expression::Like(Box::new(left), pattern))
    }

    /// JMS 3.8.1.1: "a single-character string literal".
    fn escape(&mut self) -> Result<char, SelectorError> {
        let expected = "one character in single quotes";
        let at = self.next.clone();
        let text = self.text(expected)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(escape), None) => Ok(escape),
            _ => Err(SelectorError::expected(at.offset, expected, at.text)),
        }
    }

    fn sum(&mut self) -> Parsed {
        self.arithmetic(Self::product, |mark| match mark {
            Mark::Plus => Some(Operator::Add),
            Mark::Minus => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed {
        self.arithmetic(Self::signed, |mark| match mark {
            Mark::Times => Some(Operator::Multiply),
            Mark::Divide => Some(Operator::Divide),
            _ => None,
        })
    }

    fn arithmetic(
        &mut self,
        operand: fn(&mut Self) -> Parsed,
        operator: fn(Mark) -> Option<Operator>,
    ) -> Parsed {
        let start = self.next.clone();
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Kind::Mark(mark) = self.next.kind
            && let Some(operator) = operator(mark)
        {
            self.advance()?;
            let at = self.next.clone();
            rest.push((operator, number_at(operand(self)?, &at)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        self.count()?;
        Ok(Expression::Arithmetic(Box::new(number_at(first, &start)?), rest.into()))
    }

    fn signed(&mut self) -> Parsed {
        let mut is_negative = false;
        let mut has_sign = false;
        while let Kind::Mark(mark @ (Mark::Plus | Mark::Minus)) = self.next.kind {
            is_negative ^= mark == Mark::Minus;
            has_sign = true;
            self.advance()?;
        }
        let at = self.next.clone();
        if let Kind::Integer(magnitude) = at.kind {
            self.advance()?;
            self.count()?;
            // The lowest number has no positive twin.
            let number = if is_negative {
                0_i64.checked_sub_unsigned(magnitude)
            } else {
                i64::try_from(magnitude).ok()
            };
            let number = number.ok_or_else(|| {
                SelectorError::new(at.offset, Problem::NumberRange(super::error::quoted(at.text)))
            })?;
            return Ok(Expression::Literal(Literal::Integer(number)));
        }
        let value = self.primary()?;
        let value = if has_sign { number_at(value, &at)? } else { value };
        Ok(match value {
            Expression::Literal(Literal::Real(number)) if is_negative => {
                Expression::Literal(Literal::Real(-number))
            }
            value if is_negative => Expression::Negative(Box::new(value)),
            value => value,
        })
    }

    fn primary(&mut self) -> Parsed {
        let token = self.next.clone();
        let value = match token.kind {
            Kind::Mark(Mark::Open) => return self.parenthesized(),
            Kind::Word(Word::True) => Expression::Literal(Literal::Boolean(true)),
            Kind::Word(Word::False) => Expression::Literal(Literal::Boolean(false)),
            Kind::Real(number) => Expression::Literal(Literal::Real(number)),
            Kind::Text(text) => Expression::Literal(Literal::Text(text.into())),
            Kind::Name(name) => Expression::Identifier(
                Identifier::resolve(&name).map_err(|problem| SelectorError::new(token.offset, problem))?,
            ),
            _ => return Err(self.unexpected("a name, a value or (")),
        };
        self.count()?;
        self.advance()?;
        Ok(value)
    }

    fn parenthesized(&mut self) -> Parsed {
        if self.depth == DEPTH_MAX {
            return Err(SelectorError::new(self.next.offset, Problem::TooDeep));
        }
        self.depth += 1;
        self.advance()?;
        let inner = self.any()?;
        self.expect_mark(Mark::Close, "an operator or )")?;
        self.depth -= 1;
        Ok(inner)
    }

    fn advance(&mut self) -> Result<(), SelectorError> {
        self.next = self.lexer.next()?;
        Ok(())
    }

    fn take_word(&mut self, word: Word) -> Result<bool, SelectorError> {
        let is_next = self.next.kind == Kind::Word(word);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn expect_word(&mut self, word: Word, expected: &'static str) -> Result<(), SelectorError> {
        if self.take_word(word)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn expect_mark(&mut self, mark: Mark, expected: &'static str) -> Result<(), SelectorError> {
        if self.next.kind != Kind::Mark(mark) {
            return Err(self.unexpected(expected));
        }
        self.advance()
    }

    fn text(&mut self, expected: &'static str) -> Result<String, SelectorError> {
        let Kind::Text(text) = &self.next.kind else { return Err(self.unexpected(expected)) };
        let text = text.clone().into_owned();
        self.advance()?;
        Ok(text)
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        SelectorError::expected(self.next.offset, expected, self.next.text)
    }

    fn count(&mut self) -> Result<(), SelectorError> {
        if self.nodes == NODES_MAX {
            return Err(SelectorError::new(self.next.offset, Problem::TooMany));
        }
        self.nodes += 1;
        Ok(())
    }
}

fn negated(is_negated: bool, condition: Expression) -> Expression {
    if is_negated { Expression::Not(Box::new(condition)) } else { condition }
}

/// The same expression, which begins at `start`, when it can be a condition.
fn condition_at(expression: Expression, start: &Token<'_>) -> Parsed {
    if expression.can_be_condition() {
        Ok(expression)
    } else {
        Err(SelectorError::expected(start.offset, "a condition, not a text or a number", start.text))
    }
}

/// The same expression, which begins at `start`, when it can be a number.
fn number_at(expression: Expression, start: &Token<'_>) -> Parsed {
    if expression.can_be_number() {
        Ok(expression)
    } else {
        Err(SelectorError::expected(start.offset, "a number", start.text))
    }
}

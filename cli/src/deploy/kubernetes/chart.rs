//! A Helm chart of the objects: what a user changes from one installation to the next is a value of the chart, and the
//! rest stands in the templates as the fleet's document has it.
//!
//! The objects are rendered with a mark in place of each value that is left open; the marks become actions of the
//! template language when the text is there.

use std::cell::RefCell;

use mq_model::{
    kubernetes::{KubernetesTarget, KubernetesTls},
    manifest::{Fleet, Target},
};
use serde_json::{Map, Value, json};

use super::{Rendering, documents};
use crate::{failure::Outcome, output};

/// What a mark begins with: no value that a fleet can have holds it, since no name holds capitals.
const MARK: &str = "MqOpen.";
/// The kind of what says of which kind objects are, in small letters.
const DEFINITION: &str = "customresourcedefinition";
/// The mark of the namespace.
const NAMESPACE: &str = "MqRelease.Namespace";

/// What a chart leaves open, with the fleet's values.
#[derive(Debug, Default)]
pub struct Parameters(Vec<(String, Value)>);

impl Parameters {
    /// Notes a value and gives the mark that stands in its place.
    pub(super) fn leave_open(&mut self, name: &str, value: Value) -> Value {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), value));
        }
        format!("{MARK}{name}").into()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The values of the chart.
    fn values(&self) -> Value {
        let mut values = Map::new();
        for (name, value) in &self.0 {
            let (outer, inner) = name.split_once('.').unwrap_or((name, ""));
            match inner {
                "" => {
                    values.insert(outer.into(), value.clone());
                }
                inner => {
                    let place = values.entry(outer).or_insert_with(|| json!({}));
                    if let Some(place) = place.as_object_mut() {
                        place.insert(inner.into(), value.clone());
                    }
                }
            }
        }
        values.into()
    }
}

/// The files of the chart, by their paths below its folder.
///
/// # Errors
///
/// Those of [`Rendering::objects`].
pub fn chart(fleet: &Fleet) -> Outcome<Vec<(String, String)>> {
    let target = fleet.spec.target.kubernetes().cloned().unwrap_or_default();
    let marked = KubernetesTarget { namespace: Some(NAMESPACE.into()), ..target };
    let mut fleet = fleet.clone();
    let is_secret_brought = marked.tls() == KubernetesTls::Own;
    fleet.spec.target = Target::Kubernetes(Box::new(marked));
    let mut rendering = Rendering::of_fleet(&fleet)?;
    rendering.parameters = Some(RefCell::default());
    let objects = rendering.objects()?;
    let parameters = rendering.parameters.take().map(RefCell::into_inner).unwrap_or_default();
    let mut files = vec![
        ("Chart.yaml".to_owned(), output::yaml(&about(&fleet))?),
        (
            "values.yaml".to_owned(),
            format!(
                "# What may differ from one installation to the next.\n{}",
                output::yaml(&parameters.values())?
            ),
        ),
        ("templates/NOTES.txt".to_owned(), notes(&fleet, is_secret_brought)),
    ];
    for (kind, objects) in by_kind(objects) {
        let text = documents(&objects)?;
        files.push(match kind.as_str() {
            // They are there before everything else, and are no templates.
            DEFINITION => (format!("crds/{kind}.yaml"), text),
            _ => (format!("templates/{kind}.yaml"), template(&text, &parameters)),
        });
    }
    Ok(files)
}

fn about(fleet: &Fleet) -> Value {
    json!({
        "apiVersion": "v2",
        "name": fleet.metadata.name,
        "description": format!("The mq fleet {}: AMQP 1.0 and MQTT", fleet.metadata.name),
        "type": "application",
        "version": env!("CARGO_PKG_VERSION"),
        "appVersion": env!("CARGO_PKG_VERSION"),
        // The first with pods that are counted from 1, and with the pause before a stop.
        "kubeVersion": ">=1.31.0-0",
    })
}

fn notes(fleet: &Fleet, is_secret_brought: bool) -> String {
    let name = &fleet.metadata.name;
    let secrets = match is_secret_brought {
        true => {
            "\nThe pods wait for the Secrets with their certificates. Make them where the fleet's authority is:\n\n    mq \
             render secrets -f fleet.yaml | kubectl apply --namespace {{ .Release.Namespace }} -f -\n"
        }
        false => "",
    };
    format!(
        "The fleet {name} is being installed.\n{secrets}\nThe admin API is reached with:\n\n    kubectl port-forward \
         --namespace {{{{ .Release.Namespace }}}} pod/{name}-node-1 8080\n\nThe number of nodes is in the \
         configurations of all of them: to change it, change the Fleet and render the chart again.\n"
    )
}

/// The objects of each kind, in the order in which the kinds come first.
fn by_kind(objects: Vec<Value>) -> Vec<(String, Vec<Value>)> {
    let mut kinds: Vec<(String, Vec<Value>)> = Vec::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, of_kind)) => of_kind.push(object),
            None => kinds.push((kind, vec![object])),
        }
    }
    kinds
}

/// The text with actions in place of marks. What looks like an action already is meant for somebody else.
fn template(text: &str, parameters: &Parameters) -> String {
    let mut template = String::new();
    for line in text.lines() {
        // Not in one step after the other: the second would find what the first has written.
        let escaped: Vec<String> = line.split("{{").map(|part| part.replace("}}", "{{ \"}}\" }}")).collect();
        let line = escaped.join("{{ \"{{\" }}");
        let line = match line.strip_suffix(NAMESPACE).filter(|before| before.ends_with(": ")) {
            Some(before) => format!("{before}{{{{ .Release.Namespace | quote }}}}"),
            None => line.replace(NAMESPACE, "{{ .Release.Namespace }}"),
        };
        template.push_str(&opened(&line, parameters));
        template.push('\n');
    }
    template
}

/// The line with an action in place of its mark, if it has one.
fn opened(line: &str, parameters: &Parameters) -> String {
    let Some((before, name)) = line.split_once(MARK) else { return line.to_owned() };
    let before = before.trim_end_matches(['"', '\'']);
    let name = name.trim_end_matches(['"', '\'']);
    let indent = line.len() - line.trim_start().len() + 2;
    match parameters.get(name) {
        Some(Value::Array(_) | Value::Object(_)) => {
            format!("{}{{{{- toYaml .Values.{name} | nindent {indent} }}}}", before.trim_end())
        }
        Some(Value::String(_)) => format!("{before}{{{{ .Values.{name} | quote }}}}"),
        _ => format!("{before}{{{{ .Values.{name} }}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fleet;
    use super::*;

    fn file(target: Value, path: &str) -> String {
        let files = chart(&fleet(target)).unwrap();
        let found = files.iter().find(|(known, _)| known == path);
        found.unwrap_or_else(|| panic!("no {path} among {:?}", files.iter().map(|(path, _)| path))).1.clone()
    }

    #[test]
    fn what_differs_from_one_installation_to_the_next_is_a_value() {
        let set = file(json!({}), "templates/statefulset.yaml");
        for line in [
            "  namespace: {{ .Release.Namespace | quote }}",
            "        image: {{ .Values.image | quote }}",
            "          storage: {{ .Values.storage.size | quote }}",
            "        resources:{{- toYaml .Values.resources | nindent 10 }}",
        ] {
            assert!(set.lines().any(|known| known.trim() == line.trim()), "{line}\n{set}");
        }
        let values = file(json!({ "image": "registry.example/mq:1" }), "values.yaml");
        assert!(values.contains("image: registry.example/mq:1"), "{values}");
    }

    #[test]
    fn no_mark_is_left() {
        let target = json!({
            "routers": 2,
            "monitoring": "always",
            "tls": { "certManager": {} },
            "ingress": { "route": { "domain": "mq.example.org" } },
            "storage": { "class": "fast" },
        });
        for (path, text) in chart(&fleet(target)).unwrap() {
            assert!(!text.contains("MqOpen") && !text.contains("MqRelease"), "{path}\n{text}");
        }
    }

    #[test]
    fn what_prometheus_is_to_fill_in_is_left_to_it() {
        let rules = file(json!({ "monitoring": "always" }), "templates/prometheusrule.yaml");
        assert!(rules.contains(r#"{{ "{{" }} $labels.pod {{ "}}" }}"#), "{rules}");
    }

    #[test]
    fn a_chart_makes_no_namespace() {
        let files = chart(&fleet(json!({ "namespace": "elsewhere" }))).unwrap();
        assert!(files.iter().all(|(path, _)| path != "templates/namespace.yaml"));
        assert!(files.iter().all(|(_, text)| !text.contains("elsewhere")), "{files:?}");
    }
}

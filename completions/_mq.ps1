
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'mq' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'mq'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'mq' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('deploy', 'deploy', [CompletionResultType]::ParameterValue, 'Deploy a fleet, or bring a deployed one up to date')
            [CompletionResult]::new('undeploy', 'undeploy', [CompletionResultType]::ParameterValue, 'Stop a fleet of this machine')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show the fleet: its nodes, what they listen on and how much they do')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Prove that the fleet works')
            [CompletionResult]::new('send', 'send', [CompletionResultType]::ParameterValue, 'Send messages to an address')
            [CompletionResult]::new('recv', 'recv', [CompletionResultType]::ParameterValue, 'Receive messages from an address')
            [CompletionResult]::new('request', 'request', [CompletionResultType]::ParameterValue, 'Send a request and print the replies')
            [CompletionResult]::new('reply', 'reply', [CompletionResultType]::ParameterValue, 'Answer requests')
            [CompletionResult]::new('address', 'address', [CompletionResultType]::ParameterValue, 'Create, look at and delete addresses')
            [CompletionResult]::new('apply', 'apply', [CompletionResultType]::ParameterValue, 'Create or update addresses from files')
            [CompletionResult]::new('node', 'node', [CompletionResultType]::ParameterValue, 'Look at the nodes of the fleet')
            [CompletionResult]::new('connection', 'connection', [CompletionResultType]::ParameterValue, 'Look at and close client connections')
            [CompletionResult]::new('link', 'link', [CompletionResultType]::ParameterValue, 'Look at links: who sends to and receives from what')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Print the log of a node of this machine')
            [CompletionResult]::new('context', 'context', [CompletionResultType]::ParameterValue, 'Choose which fleet the other commands talk to')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Explain a field of the YAML documents, or the code of an error')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('generate', 'generate', [CompletionResultType]::ParameterValue, 'Write the files that are generated from the command line and the data model')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Print the version of `mq` and of the fleet''s nodes')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print the help of a command, or a topic')
            break
        }
        'mq;deploy' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A YAML or JSON file with a Fleet and its Address documents; repeatable; `-` is stdin')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A YAML or JSON file with a Fleet and its Address documents; repeatable; `-` is stdin')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The fleet''s name, in place of the file''s. Default: `default`')
            [CompletionResult]::new('--amqp-port', '--amqp-port', [CompletionResultType]::ParameterName, 'The port for AMQP, in place of the file''s; 0 picks a free one')
            [CompletionResult]::new('--http-port', '--http-port', [CompletionResultType]::ParameterName, 'The port of the admin API, in place of the file''s; 0 picks a free one')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long each node may take to become ready, and to stop')
            [CompletionResult]::new('--mqd', '--mqd', [CompletionResultType]::ParameterName, 'The mqd binary. Default: MQ_MQD, then beside `mq`, then in PATH')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the plan')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the plan')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print the plan and change nothing')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Do not ask: restart nodes that have connections, delete what --prune finds')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do not ask: restart nodes that have connections, delete what --prune finds')
            [CompletionResult]::new('--prune', '--prune', [CompletionResultType]::ParameterName, 'Delete the addresses that are not in the files')
            [CompletionResult]::new('--restart', '--restart', [CompletionResultType]::ParameterName, 'Restart the nodes even when nothing has changed')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;undeploy' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The fleet''s name. Default: that of the context in use, then `default`')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long a node may take to stop before it is killed')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Do not ask')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do not ask')
            [CompletionResult]::new('--purge', '--purge', [CompletionResultType]::ParameterName, 'Delete the fleet''s state as well: addresses, configuration and logs')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;status' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;check' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'How many messages each check sends')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'How many messages each check sends')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long each check may take')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;send' {
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The body, as text. With --lines and --template: the template of each body')
            [CompletionResult]::new('--message', '--message', [CompletionResultType]::ParameterName, 'The body, as text. With --lines and --template: the template of each body')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A file that is the body; `-` is stdin. With --lines or --json-lines: the file to read lines from')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A file that is the body; `-` is stdin. With --lines or --json-lines: the file to read lines from')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'How many times to send the body [default: 1]. With --lines or --json-lines: at most this many')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'How many times to send the body [default: 1]. With --lines or --json-lines: at most this many')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable')
            [CompletionResult]::new('--property', '--property', [CompletionResultType]::ParameterName, 'A property: message-id, user-id, to, subject, reply-to, correlation-id, content-type, content-encoding, group-id, group-sequence or reply-to-group-id; repeatable')
            [CompletionResult]::new('--priority', '--priority', [CompletionResultType]::ParameterName, 'The priority, 0 (last) to 9; 4 is the default of AMQP')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How long the message may wait for a consumer')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'The seed of the random parts of a template: the same seed gives the same bodies')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Messages per second, at most')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'Messages per second, at most')
            [CompletionResult]::new('--in-flight', '--in-flight', [CompletionResultType]::ParameterName, 'How many messages may wait for their outcome, 1 to 100,000')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Give up when nothing moves for this long: no credit, no outcome; 0 waits for ever')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--lines', '--lines', [CompletionResultType]::ParameterName, 'Send each line of the input as one message')
            [CompletionResult]::new('--json-lines', '--json-lines', [CompletionResultType]::ParameterName, 'Send each line of the input as one message, in the format that `mq recv -o json` prints')
            [CompletionResult]::new('--durable', '--durable', [CompletionResultType]::ParameterName, 'Mark the message as durable')
            [CompletionResult]::new('-T', '-T ', [CompletionResultType]::ParameterName, 'Expand {{seq}}, {{now}}, {{uuid}} and the like in the body (see `mq help templates`)')
            [CompletionResult]::new('--template', '--template', [CompletionResultType]::ParameterName, 'Expand {{seq}}, {{now}}, {{uuid}} and the like in the body (see `mq help templates`)')
            [CompletionResult]::new('--settled', '--settled', [CompletionResultType]::ParameterName, 'Send pre-settled: no outcome is asked for')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;recv' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Stop after this many messages')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'Stop after this many messages')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Stop when no message has come for this long')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Stop when no message has come for this long')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Stop after this long in any case')
            [CompletionResult]::new('--until-idle', '--until-idle', [CompletionResultType]::ParameterName, 'Stop, and call it a success, when no message has come for this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print messages')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print messages')
            [CompletionResult]::new('--ack', '--ack', [CompletionResultType]::ParameterName, 'What to tell the sender about each message')
            [CompletionResult]::new('--credit', '--credit', [CompletionResultType]::ParameterName, 'How many messages to take ahead of the one being printed, 1 to 10,000')
            [CompletionResult]::new('--exec', '--exec', [CompletionResultType]::ParameterName, 'A shell command that gets each body on stdin, in place of printing it; a message is released when it fails')
            [CompletionResult]::new('--exec-timeout', '--exec-timeout', [CompletionResultType]::ParameterName, 'How long one run of --exec may take')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;request' {
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The body, as text')
            [CompletionResult]::new('--message', '--message', [CompletionResultType]::ParameterName, 'The body, as text')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A file that is the body; `-` is stdin')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A file that is the body; `-` is stdin')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable')
            [CompletionResult]::new('--property', '--property', [CompletionResultType]::ParameterName, 'A property: message-id, user-id, to, subject, reply-to, correlation-id, content-type, content-encoding, group-id, group-sequence or reply-to-group-id; repeatable')
            [CompletionResult]::new('--priority', '--priority', [CompletionResultType]::ParameterName, 'The priority, 0 (last) to 9; 4 is the default of AMQP')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How long the message may wait for a consumer')
            [CompletionResult]::new('--replies', '--replies', [CompletionResultType]::ParameterName, 'How many replies to wait for')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for all of it')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print replies')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print replies')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--durable', '--durable', [CompletionResultType]::ParameterName, 'Mark the message as durable')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;reply' {
            [CompletionResult]::new('--exec', '--exec', [CompletionResultType]::ParameterName, 'A shell command: the request''s body is its stdin, its stdout is the reply')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'Reply with this text')
            [CompletionResult]::new('--message', '--message', [CompletionResultType]::ParameterName, 'Reply with this text')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Stop after this many requests')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'Stop after this many requests')
            [CompletionResult]::new('--exec-timeout', '--exec-timeout', [CompletionResultType]::ParameterName, 'How long one run of --exec, and the delivery of one reply, may take')
            [CompletionResult]::new('--credit', '--credit', [CompletionResultType]::ParameterName, 'How many requests to take ahead of the one being answered, 1 to 10,000')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--echo', '--echo', [CompletionResultType]::ParameterName, 'Reply with the request''s body')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;address' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Create an address')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the addresses')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one address')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Delete addresses')
            break
        }
        'mq;address;create' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Who gets a message')
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Who gets a message')
            [CompletionResult]::new('--slow-consumer', '--slow-consumer', [CompletionResultType]::ParameterName, 'What happens when a consumer is slower than its producers [default: block]')
            [CompletionResult]::new('--max-producers', '--max-producers', [CompletionResultType]::ParameterName, 'How many producers may be attached')
            [CompletionResult]::new('--max-consumers', '--max-consumers', [CompletionResultType]::ParameterName, 'How many consumers may be attached')
            [CompletionResult]::new('--max-message-size', '--max-message-size', [CompletionResultType]::ParameterName, 'The largest message, such as 256Ki or 1MiB')
            [CompletionResult]::new('--credit', '--credit', [CompletionResultType]::ParameterName, 'Messages that a producer may have in flight, 1 to 10,000')
            [CompletionResult]::new('--max-undelivered', '--max-undelivered', [CompletionResultType]::ParameterName, 'Messages that may wait for one slow consumer, 1 to 1M')
            [CompletionResult]::new('--ttl-default', '--ttl-default', [CompletionResultType]::ParameterName, 'Time to live of messages that say none')
            [CompletionResult]::new('--ttl-min', '--ttl-min', [CompletionResultType]::ParameterName, 'The shortest time to live that a message may say')
            [CompletionResult]::new('--ttl-max', '--ttl-max', [CompletionResultType]::ParameterName, 'The longest time to live that a message may say')
            [CompletionResult]::new('--priority', '--priority', [CompletionResultType]::ParameterName, 'Priority of every message of this address, 0 (last) to 9, in place of the message''s own')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--if-absent', '--if-absent', [CompletionResultType]::ParameterName, 'Succeed when the address exists as asked for; fail when it exists and differs')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;address;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;address;show' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;address;delete' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--ignore-not-found', '--ignore-not-found', [CompletionResultType]::ParameterName, 'Succeed when an address does not exist')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;apply' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A YAML or JSON file; repeatable; `-` is stdin')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A YAML or JSON file; repeatable; `-` is stdin')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would change and change nothing')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;node' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the nodes')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one node with its counters')
            break
        }
        'mq;node;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;node;show' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;connection' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the connections')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one connection with its sessions')
            [CompletionResult]::new('close', 'close', [CompletionResultType]::ParameterValue, 'Close a connection; the client is told why')
            break
        }
        'mq;connection;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;connection;show' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;connection;close' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'What the client is told')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;link' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the links')
            break
        }
        'mq;link;list' {
            [CompletionResult]::new('--address', '--address', [CompletionResultType]::ParameterName, 'Only links of this address')
            [CompletionResult]::new('--connection', '--connection', [CompletionResultType]::ParameterName, 'Only links of this connection')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;logs' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'How many lines from the end to print first')
            [CompletionResult]::new('--lines', '--lines', [CompletionResultType]::ParameterName, 'How many lines from the end to print first')
            [CompletionResult]::new('--node', '--node', [CompletionResultType]::ParameterName, 'The node. Default: every node of the fleet')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Go on printing what is written from now on')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Go on printing what is written from now on')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;context' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the contexts; the current one is marked')
            [CompletionResult]::new('use', 'use', [CompletionResultType]::ParameterValue, 'Make a context the current one')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a context')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a context for a fleet that something else deployed, or change one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Delete a context. The fleet itself is not touched')
            break
        }
        'mq;context;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;context;use' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;context;show' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-headers', '--no-headers', [CompletionResultType]::ParameterName, 'Leave out the line of column titles')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;context;add' {
            [CompletionResult]::new('--amqp', '--amqp', [CompletionResultType]::ParameterName, 'Where AMQP is served: amqp://host[:port]. It must not hold a password')
            [CompletionResult]::new('--http', '--http', [CompletionResultType]::ParameterName, 'Where the admin API is served: http://host:port')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;context;delete' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;explain' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print the explanation')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print the explanation')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;completions' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;generate' {
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'The root of the source tree')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--write', '--write', [CompletionResultType]::ParameterName, 'Write the files')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Compare the files with what would be written; exit 1 when one is stale')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;version' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'Print the version of `mq` only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mq;help' {
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The context to use, in place of the current one')
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'The AMQP URL to connect to, in place of the context''s: amqp://[user[:password]@]host[:port]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The URL of the admin API, in place of the context''s: http://host:port')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user name for SASL PLAIN; without one the connection is anonymous')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'A file that holds the password for SASL PLAIN')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mq_global_optspecs
    string join \n context= url= admin= user= space= password-file= password-stdin ca= cert= key= insecure color= quiet h/help V/version
end

function __fish_mq_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mq_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mq_using_subcommand
    set -l cmd (__fish_mq_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mq -n "__fish_mq_needs_command" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_needs_command" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_needs_command" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_needs_command" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_needs_command" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_needs_command" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_needs_command" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_needs_command" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_needs_command" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_needs_command" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_needs_command" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_needs_command" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_needs_command" -s V -l version -d 'Print version'
complete -c mq -n "__fish_mq_needs_command" -f -a "deploy" -d 'Deploy a fleet, or bring a deployed one up to date'
complete -c mq -n "__fish_mq_needs_command" -f -a "scale" -d 'Change the number of nodes of a fleet'
complete -c mq -n "__fish_mq_needs_command" -f -a "restart" -d 'Restart nodes of a fleet, one after the other'
complete -c mq -n "__fish_mq_needs_command" -f -a "upgrade" -d 'Have the nodes of a fleet run from other programs, one after the other'
complete -c mq -n "__fish_mq_needs_command" -f -a "undeploy" -d 'Stop a fleet'
complete -c mq -n "__fish_mq_needs_command" -f -a "status" -d 'Show the fleet: its nodes, what they listen on and how much they do'
complete -c mq -n "__fish_mq_needs_command" -f -a "login" -d 'Log in to the fleet of a context, so that further commands are somebody there'
complete -c mq -n "__fish_mq_needs_command" -f -a "logout" -d 'Forget the password or the tokens of a context'
complete -c mq -n "__fish_mq_needs_command" -f -a "check" -d 'Prove that the fleet works'
complete -c mq -n "__fish_mq_needs_command" -f -a "send" -d 'Send messages to an address'
complete -c mq -n "__fish_mq_needs_command" -f -a "recv" -d 'Receive messages from an address'
complete -c mq -n "__fish_mq_needs_command" -f -a "browse" -d 'Look at the messages of a queue'
complete -c mq -n "__fish_mq_needs_command" -f -a "request" -d 'Send a request and print the replies'
complete -c mq -n "__fish_mq_needs_command" -f -a "reply" -d 'Answer requests'
complete -c mq -n "__fish_mq_needs_command" -f -a "bench" -d 'Measure rate, latency, losses and cost of an address'
complete -c mq -n "__fish_mq_needs_command" -f -a "address" -d 'Create, look at, empty and delete addresses'
complete -c mq -n "__fish_mq_needs_command" -f -a "subscription" -d 'Look at and end the subscriptions of topics'
complete -c mq -n "__fish_mq_needs_command" -f -a "session" -d 'Look at and end the sessions of MQTT clients'
complete -c mq -n "__fish_mq_needs_command" -f -a "retained" -d 'Look at and forget the messages that topics retain'
complete -c mq -n "__fish_mq_needs_command" -f -a "apply" -d 'Create or update addresses, users and roles from files'
complete -c mq -n "__fish_mq_needs_command" -f -a "fleet" -d 'Look at the fleet as a whole'
complete -c mq -n "__fish_mq_needs_command" -f -a "node" -d 'Look at the nodes of the fleet'
complete -c mq -n "__fish_mq_needs_command" -f -a "space" -d 'Make address spaces: tenants with names, users and limits of their own'
complete -c mq -n "__fish_mq_needs_command" -f -a "profile" -d 'Look at profiles, limits under a name for any number of spaces; `mq apply -f` makes them'
complete -c mq -n "__fish_mq_needs_command" -f -a "user" -d 'Create users and say what they may do'
complete -c mq -n "__fish_mq_needs_command" -f -a "role" -d 'Make roles: grants under a name, for any number of users'
complete -c mq -n "__fish_mq_needs_command" -f -a "connector" -d 'Connect the fleet to other brokers, and carry messages to and fro'
complete -c mq -n "__fish_mq_needs_command" -f -a "connection" -d 'Look at and close client connections'
complete -c mq -n "__fish_mq_needs_command" -f -a "link" -d 'Look at links: who sends to and receives from what'
complete -c mq -n "__fish_mq_needs_command" -f -a "logs" -d 'Print what the nodes of a fleet have said, wherever they run'
complete -c mq -n "__fish_mq_needs_command" -f -a "render" -d 'Print what a deployment would write, without a machine to write it on'
complete -c mq -n "__fish_mq_needs_command" -f -a "operator" -d 'Keep fleets, addresses, users and what belongs to them as the objects of a Kubernetes cluster say'
complete -c mq -n "__fish_mq_needs_command" -f -a "context" -d 'Choose which fleet the other commands talk to'
complete -c mq -n "__fish_mq_needs_command" -f -a "explain" -d 'Explain a field of the YAML documents, or the code of an error'
complete -c mq -n "__fish_mq_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c mq -n "__fish_mq_needs_command" -f -a "generate" -d 'Write the files that are generated from the command line and the data model'
complete -c mq -n "__fish_mq_needs_command" -f -a "agent" -d 'Do on this machine what the `mq` of another one asks over the standard streams'
complete -c mq -n "__fish_mq_needs_command" -f -a "plane" -d 'What runs in the place of `mqd` on a node'
complete -c mq -n "__fish_mq_needs_command" -f -a "pod" -d 'What the pods of a cluster run beside the daemon'
complete -c mq -n "__fish_mq_needs_command" -f -a "version" -d 'Print the version of `mq` and of the fleet\'s nodes'
complete -c mq -n "__fish_mq_needs_command" -f -a "help" -d 'Print the help of a command, or a topic'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -s f -l file -d 'A YAML or JSON file with a Fleet and its Address documents; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l name -d 'The fleet\'s name, in place of the file\'s. Default: `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l nodes -d 'How many nodes, in place of the file\'s number' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l amqp-port -d 'The port for AMQP, in place of the file\'s; 0 picks a free one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l mqtt-port -d 'The port for MQTT, in place of the file\'s; 0 picks a free one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l http-port -d 'The port of the admin API, in place of the file\'s; 0 picks a free one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l mesh-port -d 'The port for other nodes, in place of the file\'s; 0 picks free ones and keeps them' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l wait -d 'How long each node may take to become ready and find its neighbours, and to stop' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l drain-timeout -d 'How long a node that is being emptied may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l soak -d 'How long a restarted node has to be well, and an emptied one empty, before the roll goes on' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l retain -d 'How long the data of a removed node is kept' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l abandon -d 'A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its data is kept), and so may the addresses that it is home of' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l mqd -d 'The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it. Default: MQ_MQD, then beside `mq`, then in PATH' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -s o -l output -d 'How to print the plan' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l prune -d 'Delete the addresses that are not in the files'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l restart -d 'Restart the nodes even when nothing has changed'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l dry-run -d 'Print the plan and change nothing'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -s y -l yes -d 'Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l verify -d 'Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l force-conflicts -d 'In a cluster, take the fields that somebody else has changed from them, in place of refusing'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -f -a "history" -d 'List the last 20 deployments, or print the manifest of one'
complete -c mq -n "__fish_mq_using_subcommand deploy; and not __fish_seen_subcommand_from history rollback" -f -a "rollback" -d 'Deploy the manifest of an earlier deployment'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l wait -d 'How long each node may take to become ready and find its neighbours, and to stop' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l drain-timeout -d 'How long a node that is being emptied may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l soak -d 'How long a restarted node has to be well, and an emptied one empty, before the roll goes on' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l retain -d 'How long the data of a removed node is kept' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l abandon -d 'A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its data is kept), and so may the addresses that it is home of' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l mqd -d 'The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it. Default: MQ_MQD, then beside `mq`, then in PATH' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -s o -l output -d 'How to print the plan' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l prune -d 'Delete the addresses that are not in that manifest'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l dry-run -d 'Print the plan and change nothing'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -s y -l yes -d 'Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l verify -d 'Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l force-conflicts -d 'In a cluster, take the fields that somebody else has changed from them, in place of refusing'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand deploy; and __fish_seen_subcommand_from rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand scale" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l wait -d 'How long each node may take to become ready and find its neighbours, and to stop' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l drain-timeout -d 'How long a node that is being emptied may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l soak -d 'How long a restarted node has to be well, and an emptied one empty, before the roll goes on' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l retain -d 'How long the data of a removed node is kept' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l abandon -d 'A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its data is kept), and so may the addresses that it is home of' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l mqd -d 'The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it. Default: MQ_MQD, then beside `mq`, then in PATH' -r -F
complete -c mq -n "__fish_mq_using_subcommand scale" -s o -l output -d 'How to print the plan' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand scale" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand scale" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand scale" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand scale" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand scale" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand scale" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand scale" -l dry-run -d 'Print the plan and change nothing'
complete -c mq -n "__fish_mq_using_subcommand scale" -s y -l yes -d 'Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds'
complete -c mq -n "__fish_mq_using_subcommand scale" -l verify -d 'Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost'
complete -c mq -n "__fish_mq_using_subcommand scale" -l force-conflicts -d 'In a cluster, take the fields that somebody else has changed from them, in place of refusing'
complete -c mq -n "__fish_mq_using_subcommand scale" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand scale" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand scale" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand restart" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l wait -d 'How long each node may take to become ready and find its neighbours, and to stop' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l drain-timeout -d 'How long a node that is being emptied may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l soak -d 'How long a restarted node has to be well, and an emptied one empty, before the roll goes on' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l retain -d 'How long the data of a removed node is kept' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l abandon -d 'A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its data is kept), and so may the addresses that it is home of' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l mqd -d 'The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it. Default: MQ_MQD, then beside `mq`, then in PATH' -r -F
complete -c mq -n "__fish_mq_using_subcommand restart" -s o -l output -d 'How to print the plan' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand restart" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand restart" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand restart" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand restart" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand restart" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand restart" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand restart" -l rolling -d 'Restart every node'
complete -c mq -n "__fish_mq_using_subcommand restart" -l dry-run -d 'Print the plan and change nothing'
complete -c mq -n "__fish_mq_using_subcommand restart" -s y -l yes -d 'Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds'
complete -c mq -n "__fish_mq_using_subcommand restart" -l verify -d 'Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost'
complete -c mq -n "__fish_mq_using_subcommand restart" -l force-conflicts -d 'In a cluster, take the fields that somebody else has changed from them, in place of refusing'
complete -c mq -n "__fish_mq_using_subcommand restart" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand restart" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand restart" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l binary -d 'The new mqd; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l image -d 'The new image, of a fleet in a Kubernetes cluster' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l wait -d 'How long each node may take to become ready and find its neighbours, and to stop' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l drain-timeout -d 'How long a node that is being emptied may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l soak -d 'How long a restarted node has to be well, and an emptied one empty, before the roll goes on' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l retain -d 'How long the data of a removed node is kept' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l abandon -d 'A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its data is kept), and so may the addresses that it is home of' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l mqd -d 'The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it. Default: MQ_MQD, then beside `mq`, then in PATH' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -s o -l output -d 'How to print the plan' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l dry-run -d 'Print the plan and change nothing'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -s y -l yes -d 'Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l verify -d 'Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l force-conflicts -d 'In a cluster, take the fields that somebody else has changed from them, in place of refusing'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l wait -d 'How long a node may take to stop before it is killed' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand undeploy" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l purge -d 'Delete the fleet\'s state as well: addresses, configuration and logs'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand undeploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand status" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand status" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand status" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand status" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand status" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand status" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand status" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand status" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand status" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand status" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand status" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand status" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand status" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand status" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand login" -l client-secret-file -d 'A file with the secret of the client; `-` is stdin. Without it the environment variable MQ_CLIENT_SECRET' -r -F
complete -c mq -n "__fish_mq_using_subcommand login" -l issuer -d 'The provider\'s URL, as it calls itself. Default: that of the context, then that of the fleet' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l client-id -d 'What the provider calls mq. Default: that of the context, then `mq`' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l scope -d 'What the token is to be good for, separated by blanks. Default: that of the context, then `openid offline_access`, and nothing with --client-credentials' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l resource -d 'Whom the token is for, where the provider wants to know (RFC 8707)' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand login" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand login" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand login" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand login" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand login" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand login" -l oidc -d 'Log in at an identity provider (OpenID Connect), with a code (RFC 8628)'
complete -c mq -n "__fish_mq_using_subcommand login" -l browser -d 'Log in there in the browser of this machine (RFC 8252)'
complete -c mq -n "__fish_mq_using_subcommand login" -l client-credentials -d 'Log in there as a program, with the secret of the client'
complete -c mq -n "__fish_mq_using_subcommand login" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand login" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand login" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand logout" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand logout" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand logout" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand logout" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand logout" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand logout" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand logout" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logout" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logout" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logout" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand logout" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand logout" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand logout" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand check" -s n -l count -d 'How many messages each check sends' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l timeout -d 'How long each check may take' -r
complete -c mq -n "__fish_mq_using_subcommand check" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand check" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand check" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand check" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand check" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand check" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand check" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand check" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand check" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand check" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand check" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand send" -s m -l message -d 'The body, as text. With --lines and --template: the template of each body' -r
complete -c mq -n "__fish_mq_using_subcommand send" -s f -l file -d 'A file that is the body; `-` is stdin. With --lines or --json-lines, and when its name ends in .jsonl: the file to read lines from' -r -F
complete -c mq -n "__fish_mq_using_subcommand send" -s n -l count -d 'How many times to send the body [default: 1]. With --lines or --json-lines: at most this many' -r
complete -c mq -n "__fish_mq_using_subcommand send" -s H -l header -l user-property -d 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable. In MQTT it is a user property' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l property -d 'A property: message-id, user-id, to, subject, reply-to, correlation-id, content-type, content-encoding, group-id, group-sequence or reply-to-group-id; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l annotation -d 'A message annotation: name=text, or name:=json; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l priority -d 'The priority, 0 (last) to 9; 4 is the default of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l ttl -l message-expiry -d 'How long the message may wait for a consumer. In MQTT it is the message expiry, in whole seconds' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l content-type -d 'The content-type, such as application/json' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l reply-to -l response-topic -d 'Where answers go: the reply-to, in MQTT the response topic' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l correlation-id -l correlation -d 'The correlation-id, in MQTT the correlation data' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l delay -d 'Deliver the message this long after it has come to its queue' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l at -d 'Deliver the message at this time, such as 2030-01-31T08:00:00Z' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l message-id -d 'The message-id; with --template it is a template too. A queue that looks for duplicates goes by it' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l group -d 'The group-id: a queue with message groups gives the messages of one group to one consumer' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l last-value-key -d 'The key of a last-value queue: the message takes the place of the waiting one with this key' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l seed -d 'The seed of the random parts of a template: the same seed gives the same bodies' -r
complete -c mq -n "__fish_mq_using_subcommand send" -s r -l rate -d 'Messages per second, at most' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l in-flight -d 'How many messages may wait for their outcome, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l timeout -d 'Give up when nothing moves for this long: no credit, no outcome; 0 waits for ever' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l client-id -d 'Over MQTT, the client identifier [default: a random one]' -r
complete -c mq -n "__fish_mq_using_subcommand send" -s q -l qos -d 'Over MQTT, the quality of service: at most once, at least once, exactly once [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand send" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand send" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand send" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand send" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand send" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand send" -l lines -d 'Send each line of the input as one message'
complete -c mq -n "__fish_mq_using_subcommand send" -l json-lines -d 'Send each line of the input as one message, in the format that `mq recv -o json` prints. What flags say of a message goes over what its line says'
complete -c mq -n "__fish_mq_using_subcommand send" -l durable -d 'Mark the message as durable: a queue or topic accepts it when it is on the disk'
complete -c mq -n "__fish_mq_using_subcommand send" -s T -l template -d 'Expand {{seq}}, {{now}}, {{uuid}} and the like in the body (see `mq help templates`)'
complete -c mq -n "__fish_mq_using_subcommand send" -l settled -d 'Send pre-settled: no outcome is asked for. Over MQTT this is QoS 0'
complete -c mq -n "__fish_mq_using_subcommand send" -l retain -d 'Have the topic retain the message for whoever subscribes later; an empty one ends what is retained'
complete -c mq -n "__fish_mq_using_subcommand send" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand send" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand send" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand recv" -s n -l count -d 'Stop after this many messages' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -s w -l wait -d 'Stop when no message has come for this long' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l timeout -d 'Stop after this long in any case' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l until-idle -d 'Stop, and call it a success, when no message has come for this long' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l selector -d 'Only messages that meet this condition on their properties, in the language of JMS selectors, such as `priority > 4 AND region = \'eu\'`' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l durable-subscription -d 'Receive through a subscription of this name, which keeps messages while nobody receives. It ends with `mq subscription delete`' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l subscription -d 'Receive through a subscription of this name, which ends with its last consumer; for --shared' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l client-id -d 'To whom a durable subscription that is not shared belongs: the AMQP container-id (in JMS the client ID) [default: mq]. Over MQTT, the client identifier [default: a random one]' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l session-expiry -d 'Over MQTT, how long the session outlives the command, such as 1h or `never` for no end: what is sent meanwhile comes next time. Needs --client-id [default: 0]' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -s q -l qos -d 'Over MQTT, the quality of service: at most once, at least once, exactly once [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -s o -l output -d 'How to print messages' -r -f -a "text\t'The body, one message per line'
json\t'The whole message as one line of JSON (see `mq help records`)'
raw\t'The bytes of the body and nothing else'"
complete -c mq -n "__fish_mq_using_subcommand recv" -l ack -d 'What to tell the sender about each message' -r -f -a "accept\t'The message has been dealt with'
release\t'The message was not taken; another consumer may have it'
reject\t'The message is invalid'
modify\t'The message was not taken, and this attempt counts as failed'
none\t'Nothing: the message is in doubt when the command ends'"
complete -c mq -n "__fish_mq_using_subcommand recv" -l credit -d 'How many messages to take ahead of the one being printed, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l exec -d 'A shell command that gets each body on stdin, in place of printing it; a message is released when it fails' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l exec-timeout -d 'How long one run of --exec may take' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand recv" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand recv" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand recv" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand recv" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand recv" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand recv" -l until-empty -d 'Stop, and call it a success, when the address says that it has no message to give'
complete -c mq -n "__fish_mq_using_subcommand recv" -l retained -d 'Begin with the messages that the topic retains'
complete -c mq -n "__fish_mq_using_subcommand recv" -l shared -d 'Share the subscription: each message goes to one of those who receive through it'
complete -c mq -n "__fish_mq_using_subcommand recv" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand recv" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand recv" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand recv" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand browse" -s n -l count -d 'Stop after this many messages' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l selector -d 'Only messages that meet this condition on their properties, in the language of JMS selectors, such as `priority > 4 AND region = \'eu\'`' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l timeout -d 'Stop after this long in any case' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -s o -l output -d 'How to print messages' -r -f -a "text\t'The body, one message per line'
json\t'The whole message as one line of JSON (see `mq help records`)'
raw\t'The bytes of the body and nothing else'"
complete -c mq -n "__fish_mq_using_subcommand browse" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand browse" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand browse" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand browse" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand browse" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand browse" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand browse" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand browse" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand browse" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand browse" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand request" -s m -l message -d 'The body, as text' -r
complete -c mq -n "__fish_mq_using_subcommand request" -s f -l file -d 'A file that is the body; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand request" -s H -l header -l user-property -d 'An application property: key=text, or key:=json for numbers, booleans and null; repeatable. In MQTT it is a user property' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l property -d 'A property: message-id, user-id, to, subject, reply-to, correlation-id, content-type, content-encoding, group-id, group-sequence or reply-to-group-id; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l annotation -d 'A message annotation: name=text, or name:=json; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l priority -d 'The priority, 0 (last) to 9; 4 is the default of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l ttl -l message-expiry -d 'How long the message may wait for a consumer. In MQTT it is the message expiry, in whole seconds' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l content-type -d 'The content-type, such as application/json' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l reply-to -l response-topic -d 'Where answers go: the reply-to, in MQTT the response topic' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l correlation-id -l correlation -d 'The correlation-id, in MQTT the correlation data' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l delay -d 'Deliver the message this long after it has come to its queue' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l at -d 'Deliver the message at this time, such as 2030-01-31T08:00:00Z' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l message-id -d 'The message-id; with --template it is a template too. A queue that looks for duplicates goes by it' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l group -d 'The group-id: a queue with message groups gives the messages of one group to one consumer' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l last-value-key -d 'The key of a last-value queue: the message takes the place of the waiting one with this key' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l replies -d 'How many replies to wait for' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l timeout -d 'How long to wait for all of it' -r
complete -c mq -n "__fish_mq_using_subcommand request" -s o -l output -d 'How to print replies' -r -f -a "text\t'The body, one message per line'
json\t'The whole message as one line of JSON (see `mq help records`)'
raw\t'The bytes of the body and nothing else'"
complete -c mq -n "__fish_mq_using_subcommand request" -s q -l qos -d 'Over MQTT, the quality of service: at most once, at least once, exactly once [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand request" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand request" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand request" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand request" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand request" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand request" -l durable -d 'Mark the message as durable: a queue or topic accepts it when it is on the disk'
complete -c mq -n "__fish_mq_using_subcommand request" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand request" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand request" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand request" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand reply" -l exec -d 'A shell command: the request\'s body is its stdin, its stdout is the reply' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -s m -l message -d 'Reply with this text' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -s n -l count -d 'Stop after this many requests' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l exec-timeout -d 'How long one run of --exec, and the delivery of one reply, may take' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l credit -d 'How many requests to take ahead of the one being answered, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -s q -l qos -d 'Over MQTT, the quality of service: at most once, at least once, exactly once [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand reply" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand reply" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand reply" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand reply" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand reply" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand reply" -l echo -d 'Reply with the request\'s body'
complete -c mq -n "__fish_mq_using_subcommand reply" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand reply" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand reply" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand reply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "pipe" -d 'Send to an address and receive from it'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "send" -d 'Send to an address; somebody else receives'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "recv" -d 'Receive what other benches send to an address'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "request" -d 'Send requests, answer them, and measure round trips'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "connect" -d 'Open many connections and keep them idle'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "fanout" -d 'Send from one link to many receivers, each of which gets every message'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "fanin" -d 'Send from many links to one receiver'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "sweep" -d 'Run the same load at several rates, one after the other'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "max" -d 'Find the highest rate that keeps the objectives'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "run" -d 'Run the load tests of a file and judge them'
complete -c mq -n "__fish_mq_using_subcommand bench; and not __fish_seen_subcommand_from pipe send recv request connect fanout fanin sweep max run compare" -a "compare" -d 'Compare two results'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from pipe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from recv" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s x -l requesters -d 'Connections that ask, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s y -l responders -d 'Connections that answer with the request\'s body; 0 when a service answers already' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from request" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -s c -l connections -d 'How many connections' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -s r -l rate -d 'Connections to begin per second; without it as many as 64 are under way at one time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l idle -d 'How long the connections are kept before their memory is looked at' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l timeout -d 'How long one connection may take to open' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from connect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s r -l rate -d 'Messages per second of all senders together; without it as fast as credit allows' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l ramp -d 'Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from fanin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s r -l rate -d 'The rates, in messages per second' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from sweep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l slo -d 'What has to hold, such as e2e.p99<10ms; repeatable. Nothing may be lost in any case' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l from -d 'The rate to begin with' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l to -d 'The highest rate to try' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l precision -d 'Stop when the answer is as exact as this, in percent of the rate, 1 to 50' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s x -l senders -d 'Links that send, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s y -l receivers -d 'Links that receive, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s d -l duration -d 'How long to measure' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s n -l count -d 'Measure so many messages, in place of a time' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l warmup -d 'Load before anything is measured' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l credit -d 'Messages that a receiver takes in advance, 1 to 100,000' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l links -d 'Links of one connection, 1 to 250' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l drain -d 'How long to wait in the end for what is under way' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s q -l qos -d 'MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l mqtt-version -d 'MQTT only: the version [default: 5.0]' -r -f -a "5.0\t''
3.1.1\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s s -l size -d 'Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l in-flight -d 'Messages of one sender that may wait for their outcome, 1 to 1,000,000 [default: 1,000; requests without a rate: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l seed -d 'The seed of sizes and bodies: the same seed gives the same messages' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l max-lag -d 'The generator\'s own lateness (p99) above which the result is invalid' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l settled -d 'Send pre-settled: no outcome is asked for'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l durable -d 'Mark the messages as durable'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from max" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l target -d 'Where to send, in place of the file\'s target: SCHEME://[user[:password]@]host[:port] with amqp, amqps, mqtt or mqtts' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l assert -d 'A threshold that every stage has to keep, such as e2e.p99<5ms; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l baseline -d 'A JSON report or result of an earlier run to compare with' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l max-regress -d 'How much worse than the baseline a figure may be, such as e2e.p99=10%; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l runs -d 'How often to run each stage, in place of the file\'s number, 1 to 50; 5 tell a change from noise' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l report -d 'A report to write: json=FILE, junit=FILE, md=FILE, html=FILE or text=FILE; repeatable. Markdown is added to a file that exists' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -s o -l output -d 'How to print the result' -r -f -a "text\t'Figures for people'
json\t'One JSON document, for `mq bench compare` and other programs'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l max-regress -d 'What to compare, and how much worse it may be, such as e2e.p99=10%; repeatable. Default: rate, latencies and CPU time per message' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -s o -l output -d 'How to print the comparison' -r -f -a "text\t'For people'
md\t'Markdown, for a comment'
json\t'One JSON document'"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand bench; and __fish_seen_subcommand_from compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "create" -d 'Create an address'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "list" -d 'List the addresses'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "show" -d 'Show one address'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "delete" -d 'Delete addresses'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "purge" -d 'Drop the messages of a queue or subscription'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "move" -d 'Move messages from one address to another'
complete -c mq -n "__fish_mq_using_subcommand address; and not __fish_seen_subcommand_from create list show delete purge move move-home" -f -a "move-home" -d 'Move a queue, topic or subscription to another node, with all that it holds'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -s t -l type -d 'Who gets a message' -r -f -a "anycast\t'One consumer, the least busy'
multicast\t'Every consumer that is online'
queue\t'Stored, then one consumer'
topic\t'Stored for every subscription'
subscription\t'A subscription of a topic that is always there; called `topic::name`'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l slow-consumer -d 'What happens when a consumer is slower than its producers (anycast, multicast) [default: block]' -r -f -a "block\t'Producers wait for the slowest consumer'
drop\t'Pre-settled messages beyond the limit are dropped and counted'
disconnect\t'The consumer\'s link is closed'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l distribution -d 'Which consumers of a fleet of several nodes come first (anycast) [default: balanced]' -r -f -a "balanced\t'The least busy; those of other nodes count as busier by the cost of the path to them'
closest\t'Those of the node that the message came to, then those of the nearest'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-producers -d 'How many producers may be attached' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-consumers -d 'How many consumers may be attached' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-message-size -d 'The largest message, such as 256Ki or 1MiB' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l credit -d 'Messages that a producer may have in flight, 1 to 10,000' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-undelivered -d 'Messages that may wait for one slow consumer, 1 to 1M (anycast, multicast)' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l ttl-default -d 'Time to live of messages that say none' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l ttl-min -d 'The shortest time to live that a message may say' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l ttl-max -d 'The longest time to live that a message may say; in a queue or topic also that of a message that says none' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l priority -d 'Priority of every message of this address, 0 (last) to 9, in place of the message\'s own' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-messages -d 'Messages that may be stored (by a topic: for each subscription), such as 100k' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-bytes -d 'Bytes that may be stored (by a topic: for each subscription), such as 2GiB' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l on-full -d 'What happens to a message for which there is no room [default: block]' -r -f -a "block\t'Producers wait for credit'
reject\t'The message is rejected'
drop-oldest\t'The oldest messages are dropped and counted'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l max-deliveries -d 'Deliveries after which a message that nobody accepted goes to --dead-letter, 1 to 1M' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l redelivery-delay -d 'How long a message waits after its first failed delivery, at most a day [default: 0]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l redelivery-multiplier -d 'What each further delay is multiplied with, 1 to 100 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l redelivery-max-delay -d 'The longest delay [default: 1h]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l dead-letter -d 'The address that gets rejected messages and those delivered too often' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l expiry-address -d 'The address that gets messages whose time to live has run out' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l deduplicate -d 'Drop a message whose message-id came within this time before (queue), such as 10m' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l deduplicate-ids -d 'How many message-ids --deduplicate remembers, 1 to 10M [default: 100k]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l shards -d 'Store the queue in so many parts on several nodes and cores, 1 to 64 [default: 1]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l filter -d 'The names of the topic, with + and #, that a subscription gets [default: all]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l selector -d 'The condition, in the language of JMS selectors, that a subscription\'s messages meet' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l exclusive -d 'Give everything to one consumer, the first, as long as it stays (queue, subscription)'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l message-groups -d 'Give the messages of one group-id to one consumer (queue, subscription)'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l last-value -d 'Keep the last message of each key, the annotation x-opt-last-value-key (queue, subscription)'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l if-absent -d 'Succeed when the address exists as asked for; fail when it exists and differs'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l interval -d 'How often, with --watch; 100ms to 1h' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -s w -l watch -d 'Show it again and again, until Ctrl-C'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l force -d 'Delete an address also when a node that holds its messages cannot be reached: nobody can know what is dropped then'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when an address does not exist'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -s n -l count -d 'Stop after this many messages' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l to -d 'The node that is to store its messages' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l shard -d 'Move one shard of a queue that has several, as `mq address show` numbers them [default: all]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand address; and __fish_seen_subcommand_from move-home" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -f -a "list" -d 'List the subscriptions'
complete -c mq -n "__fish_mq_using_subcommand subscription; and not __fish_seen_subcommand_from list delete" -f -a "delete" -d 'End a subscription that a client made'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when the subscription does not exist'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand subscription; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -f -a "list" -d 'List the sessions'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -f -a "show" -d 'Show one session, with its subscriptions'
complete -c mq -n "__fish_mq_using_subcommand session; and not __fish_seen_subcommand_from list show delete" -f -a "delete" -d 'End a session'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -s n -l limit -d 'At most this many' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l connected -d 'Only clients that are connected'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l away -d 'Only clients that are away'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when the client has no session'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand session; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -f -a "list" -d 'List retained messages'
complete -c mq -n "__fish_mq_using_subcommand retained; and not __fish_seen_subcommand_from list delete" -f -a "delete" -d 'Forget retained messages'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -s n -l limit -d 'At most this many' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand retained; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand apply" -s f -l file -d 'A YAML or JSON file; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand apply" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand apply" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand apply" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand apply" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand apply" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand apply" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand apply" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand apply" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand apply" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand apply" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand apply" -l dry-run -d 'Say what would change and change nothing'
complete -c mq -n "__fish_mq_using_subcommand apply" -s y -l yes -d 'Do not ask before messages are lost: an address that gets another type drops what it stores'
complete -c mq -n "__fish_mq_using_subcommand apply" -l force -d 'Give an address another type also when a node that holds its messages cannot be reached: nobody can know what is dropped then'
complete -c mq -n "__fish_mq_using_subcommand apply" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand apply" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand apply" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "graph" -d 'Show which nodes are neighbours, what their links cost, and which way leads to each'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "drift" -d 'Compare the fleet with what was deployed last; exit 1 when something is different'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "rotate-ca" -d 'Put another certificate authority in the place of the fleet\'s own'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "export" -d 'Write a fleet into a folder, for another machine to change it from or another place to run in'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "import" -d 'Take over a fleet that `mq fleet export` has written'
complete -c mq -n "__fish_mq_using_subcommand fleet; and not __fish_seen_subcommand_from graph drift rotate-ca export import hand-over" -f -a "hand-over" -d 'Give a fleet in a cluster to the operator of fleets there, and print the `Fleet` object that describes it'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l from -d 'The node whose view it is. Default: one that answers' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -s o -l output -d 'How to print it' -r -f -a "table\t'A table of the nodes and a table of the links'
json\t'One JSON document'
yaml\t'YAML'
dot\t'A graph for Graphviz'"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l no-headers -d 'Leave out the lines of column titles'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from graph" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l mqd -d 'The mqd binary, as of `mq deploy`' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -s o -l output -d 'How to print what is different' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from drift" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l wait -d 'How long a node may take to take its new files; in a cluster, which brings them in its own time, at least 5 minutes' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l dry-run -d 'Print what would be done, and do nothing'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l hold -d 'Stop when every node trusts both authorities'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from rotate-ca" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l data -d 'Write what the nodes keep as well'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -s f -l file -d 'A YAML or JSON file with the Fleet as it is to be from now on; repeatable; `-` is stdin. Default: as it was' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l mqd -d 'The mqd binary, as of `mq deploy`' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l retain -d 'How long what the nodes had in the place before is kept there' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l name -d 'The fleet\'s name. Default: that of the context in use, then `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand fleet; and __fish_seen_subcommand_from hand-over" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "list" -d 'List the nodes'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "show" -d 'Show one node with its counters'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "cordon" -d 'Keep new homes of queues and topics away from a node; what it has, it serves'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "uncordon" -d 'Let a node have new homes again'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "drain" -d 'Empty a node: what it stores moves to the others, and its clients are led there'
complete -c mq -n "__fish_mq_using_subcommand node; and not __fish_seen_subcommand_from list show cordon uncordon drain undrain" -f -a "undrain" -d 'Stop emptying a node, and let it take part again. What has moved stays where it is'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from cordon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from uncordon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l timeout -d 'How long it may make no progress' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l no-wait -d 'Return at once, and leave the node to it'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand node; and __fish_seen_subcommand_from undrain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -f -a "create" -d 'Create an address space'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -f -a "list" -d 'List the spaces'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -f -a "show" -d 'Show one space with its limits'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -f -a "set" -d 'Change an address space; what is not named stays'
complete -c mq -n "__fish_mq_using_subcommand space; and not __fish_seen_subcommand_from create list show set delete" -f -a "delete" -d 'Remove an address space and close the connections of its clients'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l profile -d 'The profile whose limits it has where it has none of its own' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-connections -d 'Open connections of clients' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-sessions -d 'Sessions of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-links -d 'Links of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-message-size -d 'Bytes of one message, such as 1MiB' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-addresses -d 'Addresses' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-stored-messages -d 'Messages that wait in queues and subscriptions' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-stored -d 'Bytes of the messages that wait in queues and subscriptions, such as 10GiB' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l rate -d 'Messages that clients send in a second, such as 5k/s' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l byte-rate -d 'Bytes of the messages that clients send in a second, such as 10MiB/s' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-mqtt-sessions -d 'Sessions of MQTT, with and without a client' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-subscriptions -d 'Subscriptions of clients, whichever protocol' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l max-retained -d 'Retained messages' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l user-limit -d 'How much each user may take who has no limit of his own, by the name of a limit above: `max-connections=10`; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l host -d 'A host name by which clients choose the space, besides its own name; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l profile -d 'The profile whose limits it has where it has none of its own; `none` takes it away' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-connections -d 'Open connections of clients' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-sessions -d 'Sessions of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-links -d 'Links of AMQP' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-message-size -d 'Bytes of one message, such as 1MiB' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-addresses -d 'Addresses' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-stored-messages -d 'Messages that wait in queues and subscriptions' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-stored -d 'Bytes of the messages that wait in queues and subscriptions, such as 10GiB' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l rate -d 'Messages that clients send in a second, such as 5k/s' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l byte-rate -d 'Bytes of the messages that clients send in a second, such as 10MiB/s' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-mqtt-sessions -d 'Sessions of MQTT, with and without a client' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-subscriptions -d 'Subscriptions of clients, whichever protocol' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l max-retained -d 'Retained messages' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l user-limit -d 'How much each user may take who has no limit of his own, by the name of a limit above: `max-connections=10`; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l host -d 'The host names by which clients choose the space, all of them; repeatable, `none` takes them away' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l disable -d 'Let nobody in, and close the connections of the space'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l enable -d 'Let its users in again'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l cascade -d 'Remove its addresses with their messages, its users and its roles, too'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l force -d 'Drop what is on nodes that cannot be reached, too'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when there is no such space'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand space; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -f -a "list" -d 'List the profiles'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -f -a "show" -d 'Show one profile'
complete -c mq -n "__fish_mq_using_subcommand profile; and not __fish_seen_subcommand_from list show delete" -f -a "delete" -d 'Remove a profile; spaces that name it lose its limits'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when there is none of that name'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand profile; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "create" -d 'Create a user'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "list" -d 'List the users'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "show" -d 'Show one user; his password is not to be had'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "grant" -d 'Give a user rights and roles, besides those that he has'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "revoke" -d 'Take rights and roles from a user'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "passwd" -d 'Set the password of a user: the first line of stdin, with --password-stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "enable" -d 'Let a user log in again'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "disable" -d 'Keep a user from logging in, without forgetting what he may do'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "delete" -d 'Remove a user'
complete -c mq -n "__fish_mq_using_subcommand user; and not __fish_seen_subcommand_from create list show grant revoke passwd enable disable delete can-i" -f -a "can-i" -d 'Whether a user may do something, and why: 0 when he may, 1 when not'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l grant -d 'What he may do, `right:pattern`; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l role -d 'A role of his; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l role -d 'A role that he gets; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from grant" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l role -d 'A role that he loses; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from passwd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when there is none of that name'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l client -d 'The client identifier that `${client}` stands for' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand user; and __fish_seen_subcommand_from can-i" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "create" -d 'Create a role'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "list" -d 'List the roles, built-in ones too'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "show" -d 'Show one role'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "grant" -d 'Add grants to a role'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "revoke" -d 'Take grants from a role'
complete -c mq -n "__fish_mq_using_subcommand role; and not __fish_seen_subcommand_from create list show grant revoke delete" -f -a "delete" -d 'Remove a role; who has it loses what it gives'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l grant -d 'What those who have it may do, `right:pattern`; repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from grant" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when there is none of that name'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand role; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "create" -d 'Create a connector'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "list" -d 'List the connectors: where they stand, and how much they have carried'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "show" -d 'Show one connector and its routes. What it logs in with is not to be had'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "pause" -d 'Close the connection of a connector, until `mq connector resume`'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "resume" -d 'Let a connector have its connection again'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "credentials" -d 'Set what a connector logs in with: a password with --password-stdin, a private key with --login-key'
complete -c mq -n "__fish_mq_using_subcommand connector; and not __fish_seen_subcommand_from create list show pause resume credentials delete" -f -a "delete" -d 'Remove a connector; messages stay where they are'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l receive -d 'Take messages from FROM, an address of the server, to TO, one of the fleet; both are called alike without `=`. Repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l send -d 'Take messages from FROM, an address of the fleet or `TOPIC::SUBSCRIPTION`, to TO, one of the server. Repeatable' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l login -d 'The name to log in to the server with; --password-stdin gives its password' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l virtual-host -d 'The host to ask the server for, such as `vhost:NAME` of RabbitMQ, in place of that in the URL' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l server-ca -d 'TLS: the authorities of the server\'s certificate as PEM, in place of those that each node\'s system trusts' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l server-name -d 'TLS: the name in the server\'s certificate, in place of the host in the URL' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l login-cert -d 'TLS: the certificate that is shown to the server, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l login-key -d 'TLS: the private key of --login-cert, as PEM. The fleet keeps it' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l paused -d 'Create it without a connection; `mq connector resume` gives it one'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l login-key -d 'The private key of the certificate that it shows, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l no-password -d 'Forget the password'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l no-key -d 'Forget the private key'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from credentials" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l ignore-not-found -d 'Succeed when there is none of that name'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connector; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -f -a "list" -d 'List the connections'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -f -a "show" -d 'Show one connection with its sessions'
complete -c mq -n "__fish_mq_using_subcommand connection; and not __fish_seen_subcommand_from list show close" -f -a "close" -d 'Close a connection; the client is told why'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l reason -d 'What the client is told' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand connection; and __fish_seen_subcommand_from close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand link; and not __fish_seen_subcommand_from list" -f -a "list" -d 'List the links'
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l address -d 'Only links of this address' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l connection -d 'Only links of this connection' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand link; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand logs" -s n -l lines -d 'How many lines from the end to print first' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l node -d 'The node. Default: every node of the fleet' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand logs" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand logs" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logs" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logs" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand logs" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand logs" -s f -l follow -d 'Go on printing what is written from now on'
complete -c mq -n "__fish_mq_using_subcommand logs" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand logs" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand logs" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "kubernetes" -d 'Print the objects that make a fleet in a Kubernetes cluster'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "secrets" -d 'Print the Secrets with the certificates of a fleet in a Kubernetes cluster'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "crds" -d 'Print the definitions of the objects that the operator looks after'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "operator" -d 'Print what makes the fleets of `Fleet` objects in a namespace'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "helm" -d 'Write a Helm chart of the objects that make a fleet in a Kubernetes cluster'
complete -c mq -n "__fish_mq_using_subcommand render; and not __fish_seen_subcommand_from kubernetes secrets crds operator helm systemd" -f -a "systemd" -d 'Print the units of a fleet\'s nodes, and their configurations'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -s f -l file -d 'A YAML or JSON file with a Fleet; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l out -d 'Write a file for each object below this folder' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -s f -l file -d 'A YAML or JSON file with a Fleet; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from secrets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from crds" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l namespace -d 'The namespace of the Fleets' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l image -d 'The image with `mqd` and `mq`. Default: `localhost/mq` with the version of this `mq`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from operator" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -s f -l file -d 'A YAML or JSON file with a Fleet; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -s d -l directory -d 'Write the chart into this folder' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from helm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -s f -l file -d 'A YAML or JSON file with a Fleet; repeatable; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l node -d 'The node. Default: every node of the fleet' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l binary -d 'The daemon on the machines' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l directory -d 'The folder of the fleet on the machines. Default: /var/lib/mq/ and the fleet\'s name' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l out -d 'Write the files below this folder' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l user -d 'Units for the systemd of a user, not for that of the system'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand render; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand operator" -l authority -d 'The certificates of the authority that has signed those of the nodes, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l certificate -d 'The certificate of the fleet\'s administrator, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l certificate-key -d 'The private key of --certificate, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l lease -d 'The name of the lease' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l identity -d 'Who this process is among those that want the lease: the name of its pod' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand operator" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand operator" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand operator" -l fleets -d 'Make the fleets of `Fleet` objects, one node at a time, and keep them as those say'
complete -c mq -n "__fish_mq_using_subcommand operator" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand operator" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand operator" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand operator" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "list" -d 'List the contexts; the current one is marked'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "use" -d 'Make a context the current one'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "show" -d 'Show a context'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "add" -d 'Add a context for a fleet that something else deployed, or for any other broker, or change one'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "set" -d 'Change who the commands of a context are, and whom they trust: what `--user`, `--password-file`, `--ca`, `--cert` and `--key` say from now on'
complete -c mq -n "__fish_mq_using_subcommand context; and not __fish_seen_subcommand_from list use show add set delete" -f -a "delete" -d 'Delete a context. The fleet itself is not touched'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from use" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print the result' -r -f -a "table\t'A table for people'
wide\t'A table with every column'
json\t'One JSON document'
jsonl\t'One JSON object per line'
yaml\t'YAML'
name\t'Names only, one per line'"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l no-headers -d 'Leave out the line of column titles'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l amqp -d 'Where AMQP is served: amqp://host[:port]. It must not hold a password. Repeat it for each node of a fleet of several: commands then use one that answers' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l mqtt -d 'Where MQTT is served: mqtt://host:port; of each node, in the same order' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l http -d 'Where the admin API is served: http://host:port; of each node, in the same order' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l password-env -d 'An environment variable that holds the password' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l password-command -d 'A command whose first line of output is the password; `sh` runs it each time' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l password-env -d 'An environment variable that holds the password' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l password-command -d 'A command whose first line of output is the password; `sh` runs it each time' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l unset -d 'Take back what the context says; repeatable' -r -f -a "user\t'The user, and where his password is'
space\t'The address space'
oidc\t'The identity provider'
ca\t'Whom to trust'
cert\t'The certificate to show, and its key'"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand context; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand explain" -s o -l output -d 'How to print the explanation' -r -f -a "text\t''
json\t''"
complete -c mq -n "__fish_mq_using_subcommand explain" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand explain" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand explain" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand explain" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand explain" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand explain" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand explain" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand explain" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand explain" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand explain" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand explain" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand explain" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand explain" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand completions" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand completions" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand completions" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand completions" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand completions" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand completions" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand completions" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand completions" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand completions" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand completions" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand completions" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand completions" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand generate" -l root -d 'The root of the source tree' -r -F
complete -c mq -n "__fish_mq_using_subcommand generate" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand generate" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand generate" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand generate" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand generate" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand generate" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand generate" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand generate" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand generate" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand generate" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand generate" -l write -d 'Write the files'
complete -c mq -n "__fish_mq_using_subcommand generate" -l check -d 'Compare the files with what would be written; exit 1 when one is stale'
complete -c mq -n "__fish_mq_using_subcommand generate" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand generate" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand generate" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l fleet -d 'The fleet\'s name' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l directory -d 'The fleet\'s folder' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l release -d 'The folder with the programs to start nodes from' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l supervision -d 'Who keeps the nodes running' -r -f -a "auto\t''
system\t''
user\t''
none\t''"
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -f -a "pack" -d 'Write what a stopped node keeps to standard output'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -f -a "unpack" -d 'Read it from standard input'
complete -c mq -n "__fish_mq_using_subcommand agent; and not __fish_seen_subcommand_from pack unpack keep" -f -a "keep" -d 'Start a node again whenever it ends unexpectedly'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l state -d 'The state directory' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l store -d 'The folder of the log' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l checksum -d 'What is read has to have this checksum' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from pack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l state -d 'The state directory' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l store -d 'The folder of the log' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l checksum -d 'What is read has to have this checksum' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l node -d 'The node' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l boots -d 'Start it first: the machine has booted'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand agent; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand plane; and not __fish_seen_subcommand_from rabbitmq" -f -a "rabbitmq" -d 'Run a node of RabbitMQ: start the server with a configuration of its own, and serve the admin API for it'
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l config -d 'The node\'s configuration, with `dataplane: rabbitmq`' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand plane; and __fish_seen_subcommand_from rabbitmq" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand pod; and not __fish_seen_subcommand_from leave" -f -a "leave" -d 'Before the pod is stopped: give away what the node holds, if it does not come back'
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l seconds -d 'How long the node has to become empty, in seconds' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l state -d 'The folder of the node\'s state' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand pod; and __fish_seen_subcommand_from leave" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand version" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand version" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand version" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand version" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand version" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand version" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand version" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand version" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand version" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand version" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand version" -l client -d 'Print the version of `mq` only'
complete -c mq -n "__fish_mq_using_subcommand version" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand version" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand version" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mq -n "__fish_mq_using_subcommand help" -l context -d 'The context to use, in place of the current one' -r
complete -c mq -n "__fish_mq_using_subcommand help" -l url -d 'The AMQP URL to connect to, in place of the context\'s: amqp://[user[:password]@]host[:port]' -r
complete -c mq -n "__fish_mq_using_subcommand help" -l admin -d 'The URL of the admin API, in place of the context\'s: http://host:port' -r
complete -c mq -n "__fish_mq_using_subcommand help" -l user -d 'The user that a command is in messaging and in the admin API, `name@space` where he is of another address space than `default`; without one it is anonymous' -r
complete -c mq -n "__fish_mq_using_subcommand help" -l space -d 'The address space that a command is about, in place of the user\'s own or `default`' -r
complete -c mq -n "__fish_mq_using_subcommand help" -l password-file -d 'A file whose first line is the password; `-` is stdin' -r -F
complete -c mq -n "__fish_mq_using_subcommand help" -l ca -d 'TLS: certificates to trust besides those of this system, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand help" -l cert -d 'TLS: the certificate to show, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand help" -l key -d 'TLS: the private key of --cert, as PEM' -r -F
complete -c mq -n "__fish_mq_using_subcommand help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c mq -n "__fish_mq_using_subcommand help" -l password-stdin -d 'Read the password from the first line of stdin'
complete -c mq -n "__fish_mq_using_subcommand help" -l insecure -d 'TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody'
complete -c mq -n "__fish_mq_using_subcommand help" -l quiet -d 'Say nothing on stderr but errors'
complete -c mq -n "__fish_mq_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'

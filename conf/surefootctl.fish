# fish completion for surefootctl

function __surefootctl_volumes
    set -q SUREFOOT_RUNTIME_DIR; or set -l SUREFOOT_RUNTIME_DIR /run/surefoot
    for path in $SUREFOOT_RUNTIME_DIR/*.ctl $SUREFOOT_RUNTIME_DIR/volumes/*.ctl
        basename $path .ctl
    end
end

function __surefootctl_word
    set -l words (commandline -opc)
    test (count $words) -eq (math $argv[1] + 1)
end

function __surefootctl_legs
    set -l words (commandline -opc)
    surefootctl status -- $words[-1] 2>/dev/null | awk 'on { print $1 } $1 == "LEG" { on = 1 }'
end

set -l commands create status list show top latency why events set leg grow scrub drill stop start reload restart rename scan check dump udev
complete -c surefootctl -f
complete -c surefootctl -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c surefootctl -l control -r -F -d 'the control socket'
complete -c surefootctl -l color -x -a 'always never auto'
complete -c surefootctl -s h -l help
complete -c surefootctl -s V -l version
complete -c surefootctl -n '__fish_seen_subcommand_from status show top latency why events set grow scrub drill stop start restart rename; and __surefootctl_word 1' -a '(__surefootctl_volumes)'
complete -c surefootctl -n '__fish_seen_subcommand_from leg; and __surefootctl_word 1' -a 'fail return discard replace add remove'
complete -c surefootctl -n '__fish_seen_subcommand_from leg; and __surefootctl_word 2' -a '(__surefootctl_volumes)'
complete -c surefootctl -n '__fish_seen_subcommand_from leg; and __surefootctl_word 3' -a '(__surefootctl_legs)'
complete -c surefootctl -n '__fish_seen_subcommand_from scrub; and __surefootctl_word 1' -a 'pause resume cancel'
complete -c surefootctl -n '__fish_seen_subcommand_from create check dump scan udev' -F
complete -c surefootctl -n '__fish_seen_subcommand_from create' -l size -x
complete -c surefootctl -n '__fish_seen_subcommand_from create' -l overwrite
complete -c surefootctl -n '__fish_seen_subcommand_from create' -l assume-clean
complete -c surefootctl -n '__fish_seen_subcommand_from create' -l lazy
complete -c surefootctl -n '__fish_seen_subcommand_from create' -l zero
complete -c surefootctl -n '__fish_seen_subcommand_from status list show events reload scan check dump' -l json
complete -c surefootctl -n '__fish_seen_subcommand_from status' -l check
complete -c surefootctl -n '__fish_seen_subcommand_from top' -l batch
complete -c surefootctl -n '__fish_seen_subcommand_from top' -l count -x
complete -c surefootctl -n '__fish_seen_subcommand_from latency' -l kind -x -a 'read write flush'
complete -c surefootctl -n '__fish_seen_subcommand_from latency' -l since -x
complete -c surefootctl -n '__fish_seen_subcommand_from latency drill' -l for -x
complete -c surefootctl -n '__fish_seen_subcommand_from why' -l list
complete -c surefootctl -n '__fish_seen_subcommand_from events' -l follow
complete -c surefootctl -n '__fish_seen_subcommand_from events' -l since -x
complete -c surefootctl -n '__fish_seen_subcommand_from leg' -l config -r -F
complete -c surefootctl -n '__fish_seen_subcommand_from leg' -l write
complete -c surefootctl -n '__fish_seen_subcommand_from leg' -l beside -x
complete -c surefootctl -n '__fish_seen_subcommand_from leg scrub stop start restart' -l wait
complete -c surefootctl -n '__fish_seen_subcommand_from scrub check' -l repair
complete -c surefootctl -n '__fish_seen_subcommand_from scrub check' -l from -x
complete -c surefootctl -n '__fish_seen_subcommand_from scrub' -l rate -x
complete -c surefootctl -n '__fish_seen_subcommand_from scrub' -l all
complete -c surefootctl -n '__fish_seen_subcommand_from start leg' -l force
complete -c surefootctl -n '__fish_seen_subcommand_from leg' -l yes
complete -c surefootctl -n '__fish_seen_subcommand_from reload' -l dry-run
complete -c surefootctl -n '__fish_seen_subcommand_from scan' -l write -r -F
complete -c surefootctl -n '__fish_seen_subcommand_from check' -l compare
complete -c surefootctl -n '__fish_seen_subcommand_from drill' -l cancel

# Made by tools/manual of the program's tables of options: see there.
#
# COMP_WORDBREAKS has '=', so --option=value and NAME=PATH come here as three words.

# What follows option $2 of command $1; nothing where none of its options is called so, or it is a flag.
_edgelora_takes() {
  case $1:$2 in
    *:--default-adapter | *:--pin | *:--use | *:-a) echo 'adapter' ;;
    *:--adapters | *:--allow-adapters-from) echo 'dir' ;;
    *:--api-keys | *:--chat-template | *:--config | *:--file | *:--lora | *:--model | *:--output) echo 'file' ;;
    *:--preset | *:--prompts | *:--router | *:--table | *:--tls-cert | *:--tls-key | *:--valid) echo 'file' ;;
    *:-f | *:-m | *:-o | router_eval:--examples) echo 'file' ;;
    *:--adapter) echo 'named' ;;
    *:--alias | *:--chat-template-kwargs | *:--cors-origin | *:--ctx-size | *:--drain-delay) echo 'text' ;;
    *:--drain-timeout | *:--frequency-penalty | *:--host | *:--idle-timeout | *:--limit) echo 'text' ;;
    *:--max-body | *:--max-connections | *:--max-depth | *:--max-tokens | *:--memory | *:--min-p) echo 'text' ;;
    *:--model-name | *:--port | *:--presence-penalty | *:--prompt | *:--queue) echo 'text' ;;
    *:--receive-timeout | *:--repeat-last-n | *:--repeat-penalty | *:--router-margin) echo 'text' ;;
    *:--router-top-k | *:--scorer | *:--scorer-timeout | *:--seed | *:--slots | *:--step-adapters) echo 'text' ;;
    *:--step-rows | *:--stop | *:--system | *:--temp | *:--threads | *:--top-k | *:--top-p | *:-c) echo 'text' ;;
    *:-n | *:-p | *:-t) echo 'text' ;;
    *:--cpu-list) echo 'words auto' ;;
    *:--speculate) echo 'words auto off' ;;
    *:--kv-type) echo 'words f16 q8' ;;
    *:--cache-policy) echo 'words frequency s3-fifo lru none' ;;
    *:--weights) echo 'words keep q8 f16' ;;
    *:--adapter-type) echo 'words q8 q4 f16' ;;
    *:--isa) echo 'words scalar avx2 avxvnni avx512vnni amx_int8' ;;
    *:--log-format) echo 'words text json' ;;
  esac
}

_edgelora_options() {
  case $1 in
    run)
      echo '-p --prompt -f --file -n --max-tokens --chat --chat-template --system --special --stop --ignore-eos -m --model
      --adapter --adapters -a --use --router --router-top-k --router-margin --temp --top-k --top-p --min-p
      --repeat-penalty --repeat-last-n --frequency-penalty --presence-penalty --seed -c --ctx-size -t --threads
      --cpu-list --isa --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type
      --no-prefix-cache --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
    serve)
      echo '--config --check -m --model --adapter --adapters --router --router-top-k --router-margin --host --port
      --max-connections --max-body --receive-timeout --idle-timeout --cors-origin --tls-cert --tls-key --api-keys
      --share-prefixes --strict --verbose-answers --no-slots --no-metrics --lora-info --drain-delay --drain-timeout
      --allow-adapters-from --lock-adapters --queue --model-name --alias --default-adapter --pin --preset
      --chat-template --chat-template-kwargs --log-format --examples -c --ctx-size --slots -t --threads --cpu-list
      --isa --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type --no-prefix-cache
      --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
    tokenize)
      echo '-m --model -f --file --special --bos -d --decode -h --help'
      ;;
    inspect)
      echo '-h --help'
      ;;
    adapter_check)
      echo '-m --model --adapter-type -t --threads --isa -h --help'
      ;;
    router_profile)
      echo '--prompts -o --output --scorer --scorer-timeout -n --max-tokens --limit --restart -m --model --adapter --adapters
      -c --ctx-size --slots -t --threads --cpu-list --isa --step-rows --step-adapters --weights --memory --cache-policy
      --kv-type --adapter-type --no-prefix-cache --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
    router_train)
      echo '-m --model --table --valid -o --output --lora --max-tokens --max-depth --seed --no-refit -t --threads --isa -q
      --quiet -h --help'
      ;;
    router_eval)
      echo '-m --model --router --table --examples --json -t --threads --isa -q --quiet -h --help'
      ;;
    router_show)
      echo '-h --help'
      ;;
  esac
}

# Names of the adapters that the line so far offers: those of --adapter, and what lies in the folders of --adapters.
_edgelora_adapters() {
  local i value path
  for ((i = 1; i < COMP_CWORD; i++)); do
    value=${COMP_WORDS[i + 1]}
    [[ $value != = ]] || value=${COMP_WORDS[i + 2]}
    case ${COMP_WORDS[i]} in
      --adapter) printf '%s\n' "${value%%=*}" ;;
      --adapters)
        for path in "${value/#\~/$HOME}"/*; do
          [[ -d $path ]] && printf '%s\n' "${path##*/}"
          [[ $path == *.gguf && -f $path ]] && path=${path##*/} && printf '%s\n' "${path%.gguf}"
        done
        ;;
    esac
  done
  echo auto
}

_edgelora() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} kind
  COMPREPLY=()
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'run serve tokenize inspect adapter router help --help --version' -- "$current")
    return
  fi
  case $command in
    adapter)
      if ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W 'check --help' -- "$current")
        return
      fi
      command=adapter_${COMP_WORDS[2]}
      ;;
    router)
      if ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W 'profile train eval show --help' -- "$current")
        return
      fi
      command=router_${COMP_WORDS[2]}
      ;;
    help)
      ((COMP_CWORD > 2)) || mapfile -t COMPREPLY < <(compgen -W 'run serve tokenize inspect adapter router' -- "$current")
      return
      ;;
  esac
  kind=$(_edgelora_takes "$command" "$before")
  if [[ $kind == named && ${COMP_WORDS[COMP_CWORD - 1]} != = && ${COMP_WORDS[COMP_CWORD]} != = ]]; then
    compopt -o nospace
    return
  fi
  # The path of NAME=PATH: the option is two words further in front.
  if [[ -z $kind && $before != -* && $(_edgelora_takes "$command" "${COMP_WORDS[COMP_CWORD - 3]}") == named ]]; then
    kind=named
  fi
  case $kind in
    file | named)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    dir)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    adapter) mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_adapters)" -- "$current") ;;
    words*) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$current") ;;
    text) ;;
    *)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_options "$command")" -- "$current")
      else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi
      ;;
  esac
}

complete -F _edgelora edgelora

# Made by tools/manual of the program's tables of options: see there.
#
# COMP_WORDBREAKS has '=', so --option=value and NAME=PATH come here as three words.

# What follows option $2 of command $1; nothing where none of its options is called so, or it is a flag.
_edgelora_takes() {
  case $1:$2 in
    *:--default-adapter | *:--pin | *:--use | *:-a) echo 'adapter' ;;
    *:--allow-adapters-from | perplexity:--adapters | router_profile:--adapters | run:--adapters) echo 'dir' ;;
    serve:--adapters) echo 'dir' ;;
    *:--api-keys | *:--chat-template | *:--config | *:--costs | *:--file | *:--lora) echo 'file' ;;
    *:--markdown | *:--model | *:--out | *:--preset | *:--prompts | *:--replay | *:--router) echo 'file' ;;
    *:--save-costs | *:--table | *:--tls-cert | *:--tls-key | *:--trace | *:--valid | *:-f | *:-m) echo 'file' ;;
    *:-o | bench_load:--json | bench_plan:--adapter | bench_report:--json) echo 'file' ;;
    router_eval:--examples | router_profile:--output | router_train:--output) echo 'file' ;;
    perplexity:--adapter | router_profile:--adapter | run:--adapter | serve:--adapter) echo 'named' ;;
    *:--adapter-prefix | *:--alias | *:--alpha | *:--balance | *:--baseline | *:--cached) echo 'text' ;;
    *:--chat-template-kwargs | *:--chunks | *:--clients | *:--cols | *:--context) echo 'text' ;;
    *:--cors-origin | *:--ctx-size | *:--cv | *:--drain-delay | *:--drain-timeout | *:--duration) echo 'text' ;;
    *:--frequency-penalty | *:--gbs | *:--gops | *:--group | *:--heads | *:--host) echo 'text' ;;
    *:--idle-timeout | *:--input | *:--kernels | *:--layouts | *:--limit | *:--limits) echo 'text' ;;
    *:--max-body | *:--max-connections | *:--max-depth | *:--max-tokens | *:--memory) echo 'text' ;;
    *:--memory-mib | *:--min-p | *:--model-name | *:--n-adapters | *:--nodes | *:--npl | *:--npp) echo 'text' ;;
    *:--ntg | *:--port | *:--positions | *:--presence-penalty | *:--prompt | *:--prompt-seed) echo 'text' ;;
    *:--queue | *:--rank | *:--ranks | *:--rate | *:--receive-timeout | *:--repeat) echo 'text' ;;
    *:--repeat-last-n | *:--repeat-penalty | *:--requests | *:--router-margin | *:--router-top-k) echo 'text' ;;
    *:--scorer | *:--scorer-timeout | *:--seed | *:--server-pid | *:--shape | *:--shapes) echo 'text' ;;
    *:--slo-ttft | *:--slots | *:--speed | *:--step-adapters | *:--step-rows | *:--stop) echo 'text' ;;
    *:--system | *:--temp | *:--temperature | *:--threads | *:--timeout | *:--title | *:--top-k) echo 'text' ;;
    *:--top-p | *:--url | *:--warm-up | *:-c | *:-n | *:-p | *:-t | bench_cache:--adapters) echo 'text' ;;
    bench_load:--adapters | bench_load:--output | bench_plan:--adapters | bench_plan:--output) echo 'text' ;;
    *:--cpu-list) echo 'words auto' ;;
    *:--speculate) echo 'words auto off' ;;
    *:--kv-type) echo 'words f16 q8' ;;
    *:--cache-policy) echo 'words frequency s3-fifo lru none' ;;
    *:--weights) echo 'words keep q8 f16' ;;
    *:--api) echo 'words openai llama-server' ;;
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
    perplexity)
      echo '-f --file -c --ctx-size --chunks --slots -m --model --adapter --adapters -a --use -t --threads --cpu-list --isa
      --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type --no-prefix-cache
      --speculate --prefault -v --verbose -q --quiet -h --help'
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
    bench_batch)
      echo '-m --model --npl --npp --ntg --n-adapters --ranks --temperature --top-p --repeat --profile --context --json -t
      --threads --cpu-list --isa --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type
      --no-prefix-cache --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
    bench_peak)
      echo '--limits -t --threads --memory-mib --repeat --json -h --help'
      ;;
    bench_kernels)
      echo '--isa --kernels --layouts --shapes --cols --heads --positions --cold -t --threads --repeat --json -h --help'
      ;;
    bench_threads)
      echo '-t --threads --cpu-list --repeat --json -h --help'
      ;;
    bench_cache)
      echo '--adapters --cached -n --requests --seed -h --help'
      ;;
    bench_load)
      echo '--url --api -m --model --server-pid --n-adapters --adapter-prefix --adapters --auto --alpha --rate --cv
      --duration --no-drain -n --requests --clients --own-adapter --input --output --temperature --top-p --seed
      --prompt-seed --trace --replay --speed --timeout --slo-ttft --json --progress -h --help'
      ;;
    bench_report)
      echo '-o --out --markdown --json --title --baseline --group -h --help'
      ;;
    bench_plan)
      echo '-m --model --adapter --rank --temperature --save-costs --costs --shape --gops --gbs --adapters --alpha --rate
      --cv --duration --no-drain -n --requests --clients --own-adapter --input --output --seed --replay --warm-up
      --slo-ttft --nodes --balance --json -c --ctx-size --slots -t --threads --cpu-list --isa --step-rows
      --step-adapters --weights --memory --cache-policy --kv-type --adapter-type --no-prefix-cache --speculate
      --prefault -v --verbose -q --quiet -h --help'
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
    mapfile -t COMPREPLY < <(compgen -W 'run serve tokenize inspect adapter perplexity router bench help --help --version' -- "$current")
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
    bench)
      if ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W 'batch peak kernels threads cache load report plan --help' -- "$current")
        return
      fi
      command=bench_${COMP_WORDS[2]}
      ;;
    help)
      ((COMP_CWORD > 2)) || mapfile -t COMPREPLY < <(compgen -W 'run serve tokenize inspect adapter perplexity router bench' -- "$current")
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

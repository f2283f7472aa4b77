# Made by tools/manual of the program's tables of options: see there.
#
# COMP_WORDBREAKS has '=', so --option=value and NAME=PATH come here as three words.

# What follows option $2 of command $1; nothing where none of its options is called so, or it is a flag.
_edgelora_bench_takes() {
  case $1:$2 in
    *:--use | *:-a) echo 'adapter' ;;
    perplexity:--adapters) echo 'dir' ;;
    *:--costs | *:--file | *:--model | *:--replay | *:--save-costs | *:--trace | *:-f | *:-m) echo 'file' ;;
    load:--json | plan:--adapter) echo 'file' ;;
    perplexity:--adapter) echo 'named' ;;
    *:--adapter-prefix | *:--alpha | *:--balance | *:--cached | *:--chunks | *:--clients) echo 'text' ;;
    *:--cols | *:--context | *:--ctx-size | *:--cv | *:--duration | *:--gbs | *:--gops) echo 'text' ;;
    *:--heads | *:--input | *:--kernels | *:--layouts | *:--limits | *:--memory | *:--memory-mib) echo 'text' ;;
    *:--n-adapters | *:--nodes | *:--npl | *:--npp | *:--ntg | *:--output | *:--positions) echo 'text' ;;
    *:--prompt-seed | *:--rank | *:--ranks | *:--rate | *:--repeat | *:--requests | *:--seed) echo 'text' ;;
    *:--server-pid | *:--shape | *:--shapes | *:--slo-ttft | *:--slots | *:--speed) echo 'text' ;;
    *:--step-adapters | *:--step-rows | *:--temperature | *:--threads | *:--timeout | *:--top-p) echo 'text' ;;
    *:--url | *:--warm-up | *:-c | *:-n | *:-t | cache:--adapters | load:--adapters) echo 'text' ;;
    plan:--adapters) echo 'text' ;;
    *:--cpu-list) echo 'words auto' ;;
    *:--speculate) echo 'words auto off' ;;
    *:--kv-type) echo 'words f16 q8' ;;
    *:--cache-policy) echo 'words frequency s3-fifo lru none' ;;
    *:--weights) echo 'words keep q8 f16' ;;
    *:--api) echo 'words openai llama-server' ;;
    *:--adapter-type) echo 'words q8 q4 f16' ;;
    *:--isa) echo 'words scalar avx2 avxvnni avx512vnni amx_int8' ;;
  esac
}

_edgelora_bench_options() {
  case $1 in
    batch)
      echo '-m --model --npl --npp --ntg --n-adapters --ranks --temperature --top-p --repeat --profile --context --json -t
      --threads --cpu-list --isa --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type
      --no-prefix-cache --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
    peak)
      echo '--limits -t --threads --memory-mib --repeat --json -h --help'
      ;;
    kernels)
      echo '--isa --kernels --layouts --shapes --cols --heads --positions --cold -t --threads --repeat --json -h --help'
      ;;
    threads)
      echo '-t --threads --cpu-list --repeat --json -h --help'
      ;;
    cache)
      echo '--adapters --cached -n --requests --seed -h --help'
      ;;
    load)
      echo '--url --api -m --model --server-pid --n-adapters --adapter-prefix --adapters --auto --alpha --rate --cv
      --duration --no-drain -n --requests --clients --own-adapter --input --output --temperature --top-p --seed
      --prompt-seed --trace --replay --speed --timeout --slo-ttft --json --progress -h --help'
      ;;
    plan)
      echo '-m --model --adapter --rank --temperature --save-costs --costs --shape --gops --gbs --adapters --alpha --rate
      --cv --duration --no-drain -n --requests --clients --own-adapter --input --output --seed --replay --warm-up
      --slo-ttft --nodes --balance --json -c --ctx-size --slots -t --threads --cpu-list --isa --step-rows
      --step-adapters --weights --memory --cache-policy --kv-type --adapter-type --no-prefix-cache --speculate
      --prefault -v --verbose -q --quiet -h --help'
      ;;
    perplexity)
      echo '-f --file -c --ctx-size --chunks --slots -m --model --adapter --adapters -a --use -t --threads --cpu-list --isa
      --step-rows --step-adapters --weights --memory --cache-policy --kv-type --adapter-type --no-prefix-cache
      --speculate --prefault -v --verbose -q --quiet -h --help'
      ;;
  esac
}

# Names of the adapters that the line so far offers: those of --adapter, and what lies in the folders of --adapters.
_edgelora_bench_adapters() {
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

_edgelora_bench() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} kind
  COMPREPLY=()
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'batch peak kernels threads cache load plan perplexity help --help --version' -- "$current")
    return
  fi
  case $command in
    help)
      ((COMP_CWORD > 2)) || mapfile -t COMPREPLY < <(compgen -W 'batch peak kernels threads cache load plan perplexity' -- "$current")
      return
      ;;
  esac
  kind=$(_edgelora_bench_takes "$command" "$before")
  if [[ $kind == named && ${COMP_WORDS[COMP_CWORD - 1]} != = && ${COMP_WORDS[COMP_CWORD]} != = ]]; then
    compopt -o nospace
    return
  fi
  # The path of NAME=PATH: the option is two words further in front.
  if [[ -z $kind && $before != -* && $(_edgelora_bench_takes "$command" "${COMP_WORDS[COMP_CWORD - 3]}") == named ]]; then
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
    adapter) mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_bench_adapters)" -- "$current") ;;
    words*) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$current") ;;
    text) ;;
    *)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_bench_options "$command")" -- "$current")
      else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi
      ;;
  esac
}

complete -F _edgelora_bench edgelora-bench

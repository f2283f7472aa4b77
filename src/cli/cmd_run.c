/* edgelora run: one completion, or a chat on the terminal. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/chat.h"
#include "cli/generate.h"
#include "cli/open.h"
#include "cli/signals.h"

enum { RAW_MAX_TOKENS = 256, CHAT_MAX_TOKENS = 1024, UNSET = -2 };

typedef struct run_options {
  el_cli_engine common;
  const char *adapter, *prompt, *file, *system;
  el_cli_list stop;
  int max_tokens;
  bool chat, special;
  el_request request;
} run_options;

/* Prints the router's decision and its scores. */
static void tell_decision(void *user, const el_event_decision *decision) {
  const run_options *o = user;
  if (!o->common.verbose) return;
  fprintf(stderr, "edgelora: auto: %s, chosen in %.1f ms; scores:", decision->adapter, decision->ms);
  for (size_t i = 0; i < decision->n_candidates; i++)
    fprintf(stderr, " %s %.3f%s", decision->candidates[i].name, (double)decision->candidates[i].score,
            decision->candidates[i].resident ? " (in memory)" : "");
  fputc('\n', stderr);
}

static bool print_at_once(void *user, const char *data, size_t len) {
  return fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0;
}

/* The prompt: from -p, -f, or standard input without its last newline. NULL: it could not be read; a message was
 * printed. */
static char *read_prompt(const run_options *o, size_t *len) {
  if (o->prompt) {
    char *copy = strdup(o->prompt);
    if (!copy) el_cli_no_memory();
    *len = strlen(o->prompt);
    return copy;
  }
  char *text = el_cli_read_file(o->file ? o->file : "-", len);
  if (text && *len > 0 && text[*len - 1] == '\n') text[--*len] = 0;
  return text;
}

/* Puts the prompt into the request; its tokens are the caller's. */
static el_status tokenize_prompt(const run_options *o, const char *text, size_t len, el_request *request,
                                 el_error *err) {
  el_engine *e = o->common.engine;
  el_message messages[2] = {{"system", o->system}, {"user", text}};
  size_t skip = o->system ? 0 : 1;
  if (o->chat) return el_cli_chat_prompt(e, messages + skip, 2 - skip, request, err);
  int32_t *tokens;
  int flags = EL_TOKENIZE_BOS | (o->special ? EL_TOKENIZE_SPECIAL : 0);
  const el_held_adapter *held;
  const el_tokenizer *t;
  el_status status = el_cli_hold(e, request, &held, &t, err);
  if (!status) status = el_tokenize(t, text, len, flags, &tokens, &request->n_prompt, err);
  el_adapter_release(e, held);
  if (!status) request->prompt = tokens;
  return status;
}

/* Only the completion reaches standard output; on a terminal a newline follows. */
static int complete_prompt(run_options *o) {
  size_t len = 0;
  char *text = read_prompt(o, &len);
  if (!text) return EL_EXIT_FAILED;
  el_request request = o->request;
  el_error err;
  request.adapter = el_cli_selection(o->adapter, el_cli_is_auto(o->common.engine, o->adapter));
  el_status status = tokenize_prompt(o, text, len, &request, &err);
  free(text);
  if (status) return el_cli_failed(&err);
  if (request.n_prompt == 0) {
    el_free((void *)request.prompt);
    el_cli_error("the prompt is empty, and this model has no token to begin with");
    return EL_EXIT_FAILED;
  }
  el_cli_answer how;
  status =
      el_cli_generate(o->common.engine, &request, o->common.signal_fd, print_at_once, tell_decision, o, &how, &err);
  el_free((void *)request.prompt);
  if (status) return el_cli_failed(&err);
  if (isatty(STDOUT_FILENO)) putchar('\n');
  if (how.not_invoked && !o->common.quiet) fprintf(stderr, "edgelora: warning: " EL_NOT_INVOKED_WARNING "\n");
  if (o->common.verbose)
    fprintf(stderr, "edgelora: prompt: %d tokens in %.0f ms; completion: %d tokens in %.0f ms\n", how.prompt_tokens,
            how.prompt_ms, how.completion_tokens, how.prompt_ms + how.decode_ms);
  return el_cli_end(how.signal ? EL_EXIT_SIGNAL_BASE + how.signal : EL_EXIT_OK);
}

static int run_engine(run_options *o, bool interactive) {
  int code = el_cli_engine_open(&o->common);
  if (code >= 0) return code;
  if (!o->common.options.router_path && el_cli_is_auto(o->common.engine, o->adapter)) {
    el_cli_error("auto: there is no router that could choose an adapter; --router FILE names one");
    return EL_EXIT_FAILED;
  }
  if (interactive || o->chat) el_cli_tell_template(&o->common);
  if (!interactive) {
    if (!o->adapter && o->common.adapters.n + o->common.adapter_dirs.n > 0 && !o->common.quiet)
      fprintf(stderr, "edgelora: warning: no adapter is used; -a NAME chooses one\n");
    return complete_prompt(o);
  }
  el_cli_chat_options chat = {.engine = o->common.engine,
                              .signal_fd = o->common.signal_fd,
                              .adapter = o->adapter,
                              .has_router = o->common.options.router_path != NULL,
                              .quiet = o->common.quiet,
                              .system = o->system,
                              .request = &o->request};
  return el_cli_chat(&chat);
}

static int run_run(const el_cli_command *self, int argc, char **argv) {
  run_options o = {.common = el_cli_engine_default(), .max_tokens = UNSET, .request = el_request_default()};
  o.common.options.n_slots = 1;
  el_sampling *s = &o.request.sampling;
  if (getrandom(&s->seed, sizeof s->seed, 0) < 0) s->seed = 0;
  const el_cli_option prompt[] = {
      {'p', "prompt", "TEXT", EL_CLI_TEXT, &o.prompt, 0, 0, "the prompt"},
      {'f', "file", "FILE", EL_CLI_TEXT, &o.file, 0, 0,
       "read the prompt from FILE, without a newline at its end; - is standard input"},
      {'n', "max-tokens", "N", EL_CLI_INT, &o.max_tokens, -1, INT_MAX,
       "generate at most N tokens; -1: until the context is full; default 256, in a chat 1024"},
      {0, "chat", NULL, EL_CLI_FLAG, &o.chat, 0, 0, "apply the model's chat template to the prompt"},
      {0, "chat-template", "FILE", EL_CLI_TEXT, &o.common.options.chat_template_path, 0, 0,
       "a chat template (Jinja) to use instead of the model's own"},
      {0, "system", "TEXT", EL_CLI_TEXT, &o.system, 0, 0, "the chat's system message; default: the template's own"},
      {0, "special", NULL, EL_CLI_FLAG, &o.special, 0, 0,
       "read text such as <|im_end|> in the prompt as the special token; only without --chat"},
      {0, "stop", "TEXT", EL_CLI_TEXTS, &o.stop, 0, 0, "stop before TEXT appears; may be repeated"},
      {0, "ignore-eos", NULL, EL_CLI_FLAG, &o.request.ignore_eos, 0, 0, "continue where the model would end"},
  };
  const el_cli_option sampling[] = {
      {0, "temp", "T", EL_CLI_REAL, &s->temperature, 0, 100, "temperature; default 0: always the most likely token"},
      {0, "top-k", "K", EL_CLI_INT, &s->top_k, 0, INT_MAX, "draw from the K most likely tokens; default 0: off"},
      {0, "top-p", "P", EL_CLI_REAL, &s->top_p, 0, 1,
       "draw from the most likely tokens whose probabilities add up to P; default 1: off"},
      {0, "min-p", "P", EL_CLI_REAL, &s->min_p, 0, 1,
       "drop tokens that are less likely than P times the most likely one; default 0: off"},
      {0, "repeat-penalty", "X", EL_CLI_REAL, &s->repeat_penalty, 0.01, 100,
       "penalty for tokens that occurred before; default 1: off"},
      {0, "repeat-last-n", "N", EL_CLI_INT, &s->repeat_last_n, -1, INT_MAX,
       "how many tokens back --repeat-penalty looks; -1: all; default 64"},
      {0, "frequency-penalty", "X", EL_CLI_REAL, &s->frequency_penalty, -2, 2,
       "subtracted from a token's logit for each time that it was generated; default 0"},
      {0, "presence-penalty", "X", EL_CLI_REAL, &s->presence_penalty, -2, 2,
       "subtracted once from the logit of each token that was generated; default 0"},
      {0, "seed", "N", EL_CLI_U64, &s->seed, 0, 0,
       "seed for sampling: the same seed gives the same text; default: a random one"},
  };
  el_cli_option model[EL_CLI_MODEL_OPTIONS], router[EL_CLI_ROUTER_OPTIONS], engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      {"Prompt and answer", prompt, sizeof prompt / sizeof *prompt},
      el_cli_model_group(&o.common, &o.adapter, model),
      el_cli_router_group(&o.common, router),
      {"Sampling", sampling, sizeof sampling / sizeof *sampling},
      el_cli_engine_group(&o.common, EL_CLI_WITH_CTX, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code < 0 && o.prompt && o.file) code = el_cli_usage_error(self, "--prompt and --file exclude each other");
  bool interactive = !o.prompt && !o.file && isatty(STDIN_FILENO);
  if (code < 0) {
    if (o.system) o.chat = true;
    if (o.max_tokens == UNSET) o.max_tokens = o.chat || interactive ? CHAT_MAX_TOKENS : RAW_MAX_TOKENS;
    o.request.max_tokens = o.max_tokens;
    o.request.stop = o.stop.items;
    o.request.n_stop = o.stop.n;
    o.common.signal_fd = el_cli_signals_open();
    code = run_engine(&o, interactive);
  }
  if (o.common.signal_fd >= 0) close(o.common.signal_fd);
  el_cli_engine_close(&o.common);
  el_cli_list_free(&o.stop);
  return code;
}

const el_cli_command el_cmd_run = {
    .name = "run",
    .summary = "complete a prompt, or chat on the terminal",
    .usage = "[-m MODEL] [--adapter NAME=PATH]... [-a NAME] [-p PROMPT] [options]",
    .about =
        "Completes the prompt and prints only the completion, as it is generated. The prompt is the text of -p,\n"
        "a file, or standard input. Without a prompt, on a terminal, it starts a chat instead. With -a auto the\n"
        "router chooses the adapter; in a chat, for each message.",
    .examples =
        "  edgelora run -p 'The capital of France is' -n 16\n"
        "  edgelora run --adapters adapters -a sql --chat -p 'cabins(district, rent)\\nAverage rent of the cabins?'\n"
        "  edgelora run --adapters adapters --router router.gguf -a auto --chat -p 'How do I list open ports?' -v\n"
        "  edgelora run -m model.gguf --adapter mine=path/to/peft-folder -a mine",
    .run = run_run};

#include "cli/curl_lines.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/open.h"

/* A longer prompt is too long for a line on a terminal. */
enum { MAX_PROMPT = 4096 };

/* The prompt of the adapter's first example; the caller frees it. NULL: there is none. */
static char *example_prompt(el_engine *e, const char *name) {
  char **prompts, *copy = NULL;
  size_t n;
  if (el_adapter_examples(e, name, &prompts, &n, NULL)) return NULL;
  if (n && strlen(prompts[0]) <= MAX_PROMPT) copy = strdup(prompts[0]);
  el_free(prompts);
  return copy;
}

/* Prints text inside single quotes of a shell. */
static void put_quoted(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '\'')
      fputs("'\\''", out);
    else
      fputc(*text, out);
  }
}

/* Whether the model has a chat template; files of base models often have none. */
static bool model_has_template(el_engine *e) {
  el_message hello = {.role = "user", .content = "Hello!"};
  char *text = NULL;
  el_error err;
  el_status status = el_chat_render(el_engine_tokenizer(e), &hello, 1, true, &text, &err);
  if (!status) el_free(text);
  return el_tokenizer_has_template(el_engine_tokenizer(e)) && status != EL_ERR_UNSUPPORTED;
}

static void print_line(FILE *out, const char *url, int with, bool chat, const char *model, const char *prompt) {
  json_t *body = json_pack("{s:s, s:i, s:i}", "model", model, "temperature", 0, "max_tokens", 64);
  json_t *asked = chat ? json_pack("[{s:s, s:s}]", "role", "user", "content", prompt) : json_string(prompt);
  if (json_object_set_new(body, chat ? "messages" : "prompt", asked)) {
    json_decref(body);
    return;
  }
  char *text = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  if (!text) return;
  fprintf(out, "  curl -s %s%s/v1/%s -d '", with & EL_CLI_WITH_KEY ? "-H \"Authorization: Bearer $KEY\" " : "", url,
          chat ? "chat/completions" : "completions");
  put_quoted(out, text);
  fputs("'\n", out);
  free(text);
}

void el_cli_print_curl_lines(FILE *out, el_engine *e, const char *url, int with) {
  el_model_info info;
  el_engine_info(e, &info);
  fprintf(out, "Open %s in a browser, or ask it, with a line for each adapter:\n", url);
  bool chat = model_has_template(e);
  print_line(out, url, with, chat, info.name, "What is a low-rank adapter?");
  el_adapter_info *list;
  size_t n;
  el_error err;
  if (el_adapter_list(e, &list, &n, &err)) return;
  char *asked = NULL;
  for (size_t i = 0; i < n && i < EL_CLI_MAX_CURL_LINES; i++) {
    char *prompt = example_prompt(e, list[i].name);
    print_line(out, url, with, chat, list[i].name, prompt ? prompt : "Hello!");
    if (prompt) {
      free(asked);
      asked = prompt;
    }
  }
  if (n > EL_CLI_MAX_CURL_LINES)
    fprintf(out, "  ... and %zu more: curl -s %s/v1/models\n", n - EL_CLI_MAX_CURL_LINES, url);
  el_free(list);
  if ((with & EL_CLI_WITH_ROUTER) && el_cli_is_auto(e, "auto")) {
    fputs("Or let the router choose:\n", out);
    print_line(out, url, with, chat, "auto", asked ? asked : "Hello!");
  }
  free(asked);
}

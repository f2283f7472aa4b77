/* edgelora tokenize: text to token ids, and back. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/open.h"

typedef struct tokenize_options {
  const char *model, *file;
  bool special, bos, decode;
} tokenize_options;

/* A byte without a token is left out, with a message. */
static int print_ids(const el_tokenizer *t, const tokenize_options *o, const char *text, size_t len) {
  int flags = (o->special ? EL_TOKENIZE_SPECIAL : 0) | (o->bos ? EL_TOKENIZE_BOS : 0);
  int32_t *ids = NULL;
  size_t n = 0;
  el_error err;
  el_status status = el_tokenize(t, text, len, flags, &ids, &n, &err);
  if (status == EL_ERR_INVALID) {
    el_error why = err;
    status = el_tokenize(t, text, len, flags | EL_TOKENIZE_LOSSY, &ids, &n, &err);
    if (!status) el_cli_error("%s: left out", why.message);
  }
  if (status) return el_cli_failed(&err);
  putchar('[');
  for (size_t i = 0; i < n; i++) printf(i ? ", %d" : "%d", ids[i]);
  puts("]");
  el_free(ids);
  return -1;
}

/* Reads one JSON string per line and prints one array of ids per line. */
static int encode_lines(const el_tokenizer *t, const tokenize_options *o, const char *name, char *text, size_t len) {
  size_t number = 0;
  for (char *line = text, *end = text + len; line < end;) {
    char *newline = memchr(line, '\n', (size_t)(end - line));
    size_t line_len = (size_t)((newline ? newline : end) - line);
    number++;
    json_error_t why;
    json_t *value = json_loadb(line, line_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!json_is_string(value)) {
      el_cli_error("%s: line %zu is not a JSON string%s%s", name, number, value ? "" : ": ", value ? "" : why.text);
      json_decref(value);
      return EL_EXIT_FAILED;
    }
    int code = print_ids(t, o, json_string_value(value), json_string_length(value));
    json_decref(value);
    if (code >= 0) return code;
    line += line_len + 1;
  }
  return -1;
}

static int encode_argument(const el_tokenizer *t, const tokenize_options *o, const char *argument) {
  bool lines = o->file != NULL, standard = strcmp(lines ? o->file : argument, "-") == 0;
  if (!lines && !standard) return print_ids(t, o, argument, strlen(argument));
  size_t len;
  char *text = el_cli_read_file(lines ? o->file : "-", &len);
  if (!text) return EL_EXIT_FAILED;
  int code = lines ? encode_lines(t, o, standard ? "standard input" : o->file, text, len) : print_ids(t, o, text, len);
  free(text);
  return code;
}

/* Prints the exact bytes of the tokens; `text` is an array of ids as encode prints it, or just the ids. */
static int decode_ids(const el_tokenizer *t, const tokenize_options *o, const el_cli_command *self, const char *text) {
  int32_t *ids = malloc((strlen(text) + 1) * sizeof *ids);
  if (!ids) return el_cli_no_memory();
  size_t n = 0;
  const char *p = text;
  for (;;) {
    p += strspn(p, " \t\r\n,[]");
    if (!*p) break;
    char *end;
    errno = 0;
    long id = strtol(p, &end, 10);
    if (end == p || errno || id < 0 || id >= el_tokenizer_n_vocab(t)) {
      free(ids);
      return el_cli_usage_error(self, "--decode: '%.*s' is not a token id from 0 to %d", (int)strcspn(p, " ,]"), p,
                                el_tokenizer_n_vocab(t) - 1);
    }
    ids[n++] = (int32_t)id;
    p = end;
  }
  char *bytes = NULL;
  size_t len = 0;
  el_error err;
  el_status status = el_detokenize(t, ids, n, o->special, &bytes, &len, &err);
  free(ids);
  if (status) return el_cli_failed(&err);
  fwrite(bytes, 1, len, stdout);
  el_free(bytes);
  return -1;
}

static int run_tokenize(const el_cli_command *self, int argc, char **argv) {
  tokenize_options o = {0};
  const el_cli_option options[] = {
      {'m', "model", "FILE", EL_CLI_TEXT, &o.model, 0, 0,
       "a GGUF file with a vocabulary; it needs no weights; default: the model that 'make model' puts into the cache"},
      {'f', "file", "FILE", EL_CLI_TEXT, &o.file, 0, 0,
       "read one JSON string per line and print one array of ids per line; - is standard input"},
      {0, "special", NULL, EL_CLI_FLAG, &o.special, 0, 0, "read text such as <|im_end|> as the special token"},
      {0, "bos", NULL, EL_CLI_FLAG, &o.bos, 0, 0, "begin with the BOS token, if the model asks for one"},
      {'d', "decode", NULL, EL_CLI_FLAG, &o.decode, 0, 0, "turn ids into text"},
  };
  const el_cli_group group = {"Options", options, sizeof options / sizeof *options};
  el_cli_rest rest;
  int code = el_cli_parse(self, &group, 1, argc, argv, &rest);
  if (code >= 0) return code;
  if (o.decode && o.file) return el_cli_usage_error(self, "--decode takes the ids as an argument, not from --file");
  if (rest.n != (o.file ? 0 : 1))
    return o.file ? el_cli_usage_error(self, "unexpected argument '%s' beside --file", rest.items[0])
                  : el_cli_usage_error(self, "one text is needed, not %d: put it in quotes", rest.n);
  char *path = el_cli_model_path(o.model);
  if (!path) return EL_EXIT_USAGE;
  el_tokenizer *t = NULL;
  el_error err;
  el_status status = el_tokenizer_open(path, &t, &err);
  free(path);
  if (status) return el_cli_failed(&err);
  if (el_tokenizer_notice(t)) fprintf(stderr, "edgelora: %s\n", el_tokenizer_notice(t));
  code = o.decode ? decode_ids(t, &o, self, rest.items[0]) : encode_argument(t, &o, o.file ? NULL : rest.items[0]);
  el_tokenizer_close(t);
  return el_cli_end(code < 0 ? EL_EXIT_OK : code);
}

const el_cli_command el_cmd_tokenize = {
    .name = "tokenize",
    .summary = "turn text into token ids, or ids into text",
    .usage = "[-m MODEL] TEXT | - | --file FILE | --decode IDS",
    .about =
        "Prints the token ids of TEXT, of standard input (-), or of every line of FILE, as JSON arrays.\n"
        "No token is added before or after them. A byte without a token is left out, with a message.",
    .examples =
        "  edgelora tokenize 'Hello world'\n"
        "  edgelora tokenize -m vocabulary.gguf --file texts.jsonl > ids.jsonl\n"
        "  edgelora tokenize --decode '[19556, 905]'",
    .run = run_tokenize};

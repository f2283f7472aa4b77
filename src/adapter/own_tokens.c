#include "adapter/own_tokens.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json_guard.h"
#include "base/random.h"

enum { CONFIG, TOKENIZER, ADDED, SPECIAL, TEMPLATE, GENERATION, N_FILES };
static const char *const NAMES[N_FILES] = {"tokenizer_config.json",   "tokenizer.json",      "added_tokens.json",
                                           "special_tokens_map.json", "chat_template.jinja", "generation_config.json"};

typedef struct reader {
  const char *folder;
  char *path[N_FILES];
  json_t *config, *list, *special, *generation; /* NULL: the file does not exist */
  el_file template;
  el_added_token *tokens;
  size_t n_tokens;
  int64_t ends[EL_MAX_ADDED_ENDS];
  el_extension out;
  el_error *err;
} reader;

static el_status tokens_no_memory(const reader *r) {
  return el_fail_about(r->err, EL_ERR_NO_MEMORY, r->folder, "out of memory");
}

#define FAIL(r, file, ...) el_fail_about((r)->err, EL_ERR_FORMAT, (r)->path[file], __VA_ARGS__)

/* ------------------------------------------------------------------- files */

static bool is_there(const reader *r, int file) {
  struct stat st;
  return !stat(r->path[file], &st);
}

static el_status parse_tokens_json(reader *r, int file, const char *text, size_t len, size_t flags, json_t **out) {
  json_error_t why;
  bool short_of_memory;
  const size_t depth = el_json_depth(text, len);
  if (depth > EL_OWN_TOKENS_MAX_DEPTH)
    return FAIL(r, file, "is nested %zu levels deep, the limit is %d", depth, EL_OWN_TOKENS_MAX_DEPTH);
  *out = el_json_load(text, len, flags, &why, &short_of_memory);
  if (*out) return EL_OK;
  if (short_of_memory) return tokens_no_memory(r);
  return FAIL(r, file, "is not valid JSON (line %d, column %d)", why.line, why.column);
}

/* *out stays NULL if there is no such file. */
static el_status read_tokens_object(reader *r, int file, json_t **out) {
  el_file f = {0};
  if (!is_there(r, file)) return EL_OK;
  el_status status = el_file_read(r->path[file], EL_OWN_TOKENS_MAX_BYTES, &f, r->err);
  if (!status) status = parse_tokens_json(r, file, (const char *)f.data, f.size, JSON_REJECT_DUPLICATES, out);
  if (!status && !json_is_object(*out)) status = FAIL(r, file, "is not a JSON object");
  el_file_close(&f);
  return status;
}

/* Where the value that begins at `at` ends, by brackets and quotes; len: it does not end. */
static size_t skip_value(const char *s, size_t len, size_t at) {
  size_t depth = 0;
  bool quoted = false;
  for (; at < len; at++) {
    const char c = s[at];
    if (quoted) {
      at += c == '\\';
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      if (!depth) return at; /* the end of what the value is in */
      if (!--depth) return at + 1;
    } else if (c == ',' && !depth) {
      return at;
    }
  }
  return len;
}

static size_t skip_json_space(const char *s, size_t len, size_t at) {
  while (at < len && strchr(" \t\r\n", s[at]) && s[at]) at++;
  return at;
}

/* Finds the value of a member of the object that the text begins with. out->data NULL: there is
 * none. False: the text ends before that is certain. What follows the value is not looked at: in a
 * tokenizer's file those are tens of megabytes. */
static bool find_member(const char *s, size_t len, const char *name, el_str *out) {
  size_t at = skip_json_space(s, len, 0);
  *out = (el_str){0};
  if (at == len || s[at++] != '{') return false;
  while ((at = skip_json_space(s, len, at)) < len && s[at] == '"') {
    const size_t begin = ++at;
    while (at < len && s[at] != '"') at += s[at] == '\\' ? 2 : 1;
    if (at >= len) return false;
    const el_str key = {s + begin, at - begin};
    at = skip_json_space(s, len, at + 1);
    if (at >= len || s[at++] != ':') return false;
    at = skip_json_space(s, len, at);
    const size_t end = skip_value(s, len, at);
    if (end == len) return false;
    if (el_str_eq(key, name)) return *out = (el_str){s + at, end - at}, true;
    at = skip_json_space(s, len, end);
    if (at < len && s[at] == ',') at++;
  }
  return at < len && s[at] == '}';
}

/* Reads the list in tokenizer.json, which precedes its vocabulary. */
static el_status read_added_list(reader *r) {
  el_source source;
  char *text = NULL;
  el_str list = {0};
  if (!is_there(r, TOKENIZER)) return EL_OK;
  el_status status = el_source_open(r->path[TOKENIZER], &source, r->err);
  if (status) return status;
  const size_t n = source.size < EL_OWN_TOKENS_MAX_BYTES ? source.size : EL_OWN_TOKENS_MAX_BYTES;
  if (!(text = malloc(n + 1))) status = tokens_no_memory(r);
  if (!status) status = el_source_read(&source, r->path[TOKENIZER], 0, text, n, r->err);
  el_source_close(&source);
  if (!status && !find_member(text, n, "added_tokens", &list))
    status = source.size > n ? FAIL(r, TOKENIZER, "has no added_tokens in its first %d bytes", EL_OWN_TOKENS_MAX_BYTES)
                             : FAIL(r, TOKENIZER, "is not valid JSON");
  if (!status && list.data) status = parse_tokens_json(r, TOKENIZER, list.data, list.len, 0, &r->list);
  if (!status && r->list && !json_is_array(r->list)) status = FAIL(r, TOKENIZER, "added_tokens: is no array");
  free(text);
  return status;
}

/* ------------------------------------------------------------------ tokens */

static el_status reserve_tokens(reader *r, int file, size_t n) {
  if (n > EL_OWN_TOKENS_MAX_LISTED)
    return FAIL(r, file, "has %zu added tokens, the limit is %d", n, EL_OWN_TOKENS_MAX_LISTED);
  r->tokens = calloc(n + 1, sizeof *r->tokens);
  return r->tokens ? EL_OK : tokens_no_memory(r);
}

static el_status read_token_flag(reader *r, int file, int64_t id, const json_t *object, const char *name, bool *out) {
  const json_t *v = json_object_get(object, name);
  if (v && !json_is_boolean(v)) return FAIL(r, file, "token %" PRId64 ": %s: is neither true nor false", id, name);
  *out = json_is_true(v);
  return EL_OK;
}

static el_status add_own_token(reader *r, int file, int64_t id, const json_t *object) {
  const json_t *content = json_object_get(object, "content");
  el_added_token *t = &r->tokens[r->n_tokens++];
  bool single = false;
  if (!json_is_string(content)) return FAIL(r, file, "token %" PRId64 ": content: is no string", id);
  *t = (el_added_token){.id = id, .text = {json_string_value(content), json_string_length(content)}};
  el_status status = read_token_flag(r, file, id, object, "special", &t->special);
  if (!status) status = read_token_flag(r, file, id, object, "lstrip", &t->strip_before);
  if (!status) status = read_token_flag(r, file, id, object, "rstrip", &t->strip_after);
  if (!status) status = read_token_flag(r, file, id, object, "single_word", &single);
  return status;
}

/* Parses a number that is a key of a JSON object. */
static bool parse_token_id(const char *s, int64_t *out) {
  char *end;
  errno = 0;
  *out = strtoll(s, &end, 10);
  return *s >= '0' && *s <= '9' && !*end && !errno;
}

static el_status read_decoder(reader *r, json_t *decoder) {
  const char *key;
  json_t *object;
  int64_t id;
  el_status status = reserve_tokens(r, CONFIG, json_object_size(decoder));
  json_object_foreach(decoder, key, object) {
    if (status) return status;
    if (!parse_token_id(key, &id)) return FAIL(r, CONFIG, "added_tokens_decoder: a key is no token's number");
    status = add_own_token(r, CONFIG, id, object);
  }
  return status;
}

static el_status read_tokenizer_list(reader *r) {
  size_t i;
  json_t *object;
  el_status status = reserve_tokens(r, TOKENIZER, json_array_size(r->list));
  json_array_foreach(r->list, i, object) {
    const json_t *id = json_object_get(object, "id");
    if (status) return status;
    if (!json_is_integer(id)) return FAIL(r, TOKENIZER, "added_tokens[%zu]: id: is no number", i);
    status = add_own_token(r, TOKENIZER, json_integer_value(id), object);
  }
  return status;
}

/* A token's text, which is a string or in an object. */
static el_str token_text(const json_t *v) {
  if (json_is_object(v)) v = json_object_get(v, "content");
  return json_is_string(v) ? (el_str){json_string_value(v), json_string_length(v)} : (el_str){0};
}

static bool lists_token(const json_t *object, const char *text) {
  const char *key;
  json_t *v, *one;
  size_t i;
  json_object_foreach((json_t *)object, key, v) {
    if (token_text(v).data && el_str_eq(token_text(v), text)) return true;
    json_array_foreach(v, i, one) if (token_text(one).data && el_str_eq(token_text(one), text)) return true;
  }
  return false;
}

static el_status read_map(reader *r, json_t *map) {
  const char *key;
  json_t *id;
  el_status status = reserve_tokens(r, ADDED, json_object_size(map));
  json_object_foreach(map, key, id) {
    char show[EL_SHOW];
    if (status) return status;
    if (!json_is_integer(id))
      return FAIL(r, ADDED, "'%s': is no number", el_str_show(el_str_of(key), show, sizeof show));
    r->tokens[r->n_tokens++] = (el_added_token){
        .id = json_integer_value(id),
        .text = {key, strlen(key)},
        .special = (r->special && lists_token(r->special, key)) || (r->config && lists_token(r->config, key))};
  }
  return EL_OK;
}

/* ------------------------------------------------------------- what else there is */

static el_status read_ends(reader *r) {
  const json_t *end = r->generation ? json_object_get(r->generation, "eos_token_id") : NULL;
  if (json_is_integer(end)) r->ends[r->out.n_ends++] = json_integer_value(end);
  if (json_is_array(end) && json_array_size(end) > EL_MAX_ADDED_ENDS)
    return FAIL(r, GENERATION, "eos_token_id: has %zu tokens, the limit is %d", json_array_size(end),
                EL_MAX_ADDED_ENDS);
  for (size_t i = 0; i < json_array_size(end); i++) {
    const json_t *one = json_array_get(end, i);
    if (!json_is_integer(one)) return FAIL(r, GENERATION, "eos_token_id[%zu]: is no number", i);
    r->ends[r->out.n_ends++] = json_integer_value(one);
  }
  r->out.ends = r->ends;
  return EL_OK;
}

static el_status check_template_length(const reader *r, int file, size_t len) {
  if (len <= EL_OWN_TOKENS_MAX_TEMPLATE) return EL_OK;
  return FAIL(r, file, "chat_template: %zu bytes, the limit is %d", len, EL_OWN_TOKENS_MAX_TEMPLATE);
}

static el_status read_folder_template(reader *r) {
  if (is_there(r, TEMPLATE)) {
    el_status status = el_file_read(r->path[TEMPLATE], EL_OWN_TOKENS_MAX_TEMPLATE, &r->template, r->err);
    if (!status) r->out.chat_template = (el_str){(const char *)r->template.data, r->template.size};
    return status;
  }
  const json_t *v = r->config ? json_object_get(r->config, "chat_template") : NULL;
  if (json_is_string(v)) r->out.chat_template = token_text(v);
  for (size_t i = 0; i < json_array_size(v); i++) { /* several by name */
    const json_t *one = json_array_get(v, i);
    const char *name = json_string_value(json_object_get(one, "name"));
    const el_str text = token_text(json_object_get(one, "template"));
    if (name && !strcmp(name, "default")) r->out.chat_template = text;
    if (name && !strcmp(name, "tool_use")) r->out.tools_template = text;
  }
  el_status status = check_template_length(r, CONFIG, r->out.chat_template.len);
  return status ? status : check_template_length(r, CONFIG, r->out.tools_template.len);
}

static el_status read_own_tokens(reader *r) {
  json_t *map = NULL, *decoder;
  el_status status = read_tokens_object(r, CONFIG, &r->config);
  if (status) return status;
  decoder = r->config ? json_object_get(r->config, "added_tokens_decoder") : NULL;
  if (decoder && !json_is_object(decoder)) return FAIL(r, CONFIG, "added_tokens_decoder: is no object");
  if (decoder && json_object_size(decoder)) {
    status = read_decoder(r, decoder);
  } else if (!(status = read_added_list(r)) && json_array_size(r->list)) {
    status = read_tokenizer_list(r);
  } else if (!status && !(status = read_tokens_object(r, SPECIAL, &r->special)) &&
             !(status = read_tokens_object(r, ADDED, &map)) && map) {
    json_decref(r->list);
    r->list = map; /* texts of tokens point into it */
    status = read_map(r, map);
  }
  if (status || !r->n_tokens) return status;
  if (r->config) {
    r->out.eos = token_text(json_object_get(r->config, "eos_token"));
    r->out.bos = token_text(json_object_get(r->config, "bos_token"));
  }
  if (!status) status = read_tokens_object(r, GENERATION, &r->generation);
  if (!status) status = read_ends(r);
  if (!status) status = read_folder_template(r);
  r->out.tokens = r->tokens;
  r->out.n = r->n_tokens;
  return status;
}

static void close_reader(reader *r) {
  json_decref(r->config);
  json_decref(r->list);
  json_decref(r->special);
  json_decref(r->generation);
  el_file_close(&r->template);
  free(r->tokens);
  for (int i = 0; i < N_FILES; i++) free(r->path[i]);
}

/* The file that the tokens were read from, for messages. */
static const char *source_of(const reader *r) {
  const bool decoder = r->config && json_object_size(json_object_get(r->config, "added_tokens_decoder"));
  return r->path[decoder ? CONFIG : json_is_array(r->list) ? TOKENIZER : ADDED];
}

/* How many of the tokens are beyond the base's. */
static size_t count_behind(const reader *r, int64_t n_base) {
  size_t n = 0;
  for (size_t i = 0; i < r->out.n; i++) n += r->tokens[i].id >= n_base;
  return n;
}

static bool has_rows(const reader *r, const el_sites *sites) {
  el_error why;
  el_lora_file *weights = NULL;
  if (el_lora_file_open(r->folder, sites, &weights, &why)) return true;
  const bool has = el_lora_file_n_vocab(weights) > 0;
  el_lora_file_close(weights);
  return has;
}

static void pass_over_from(reader *r, int64_t first) {
  size_t n = 0;
  for (size_t i = 0; i < r->out.n; i++)
    if (r->tokens[i].id < first) r->tokens[n++] = r->tokens[i];
  r->out.n = n;
}

el_status el_own_tokens_read(const char *folder, const el_tokenizer *base, const el_sites *sites, el_tokenizer **out,
                             size_t *n_passed, el_error *err) {
  const int32_t n_base = el_tokenizer_n_vocab(base);
  reader r = {.folder = folder, .err = err};
  el_error why;
  bool whole = true;
  *out = NULL;
  if (n_passed) *n_passed = 0;
  for (int i = 0; i < N_FILES; i++) whole = (r.path[i] = el_path_join(folder, NAMES[i])) && whole;
  el_status status = whole ? read_own_tokens(&r) : tokens_no_memory(&r);
  const size_t n_behind = status ? 0 : count_behind(&r, n_base);
  if (n_behind && !has_rows(&r, sites)) {
    pass_over_from(&r, n_base);
    if (n_passed) *n_passed = n_behind;
  }
  if (!status && (status = el_tokenizer_extend(base, &r.out, out, &why)))
    el_fail_about(err, status, source_of(&r), "%s", why.message);
  close_reader(&r);
  return status;
}

uint64_t el_own_tokens_stamp(const char *folder) {
  uint64_t sum = 0;
  for (int i = 0; i < N_FILES; i++) {
    struct stat st;
    char *path = el_path_join(folder, NAMES[i]);
    if (path && !stat(path, &st))
      sum += el_mix64((uint64_t)st.st_ino ^ el_mix64((uint64_t)st.st_size * 8 + (uint64_t)i + 1) ^
                      (uint64_t)st.st_mtim.tv_sec * 1000000000u ^ (uint64_t)st.st_mtim.tv_nsec);
    free(path);
  }
  return sum;
}

el_status el_own_tokens_check(const el_lora_file *f, const el_tokenizer *base, const el_tokenizer *own,
                              const char *path, el_error *err) {
  const int32_t n_base = el_tokenizer_n_vocab(base), n = el_lora_file_n_vocab(f), rows = n > n_base ? n : n_base;
  char show[EL_SHOW];
  for (int32_t id = n; n && id < n_base; id++)
    if (!el_tokenizer_is_unused(base, id))
      return el_fail_about(err, EL_ERR_FORMAT, path,
                           "its weights are of a vocabulary of %d tokens, and the base's token %d is '%s': it was "
                           "trained on another base",
                           (int)n, (int)id, el_str_show(el_token_bytes(base, id, true), show, sizeof show));
  if (own && el_tokenizer_n_vocab(own) > rows)
    return el_fail_about(err, EL_ERR_FORMAT, path,
                         "its tokenizer has token %d, '%s', and its weights are of a vocabulary of %d tokens",
                         (int)rows, el_str_show(el_token_bytes(own, rows, true), show, sizeof show), (int)rows);
  return EL_OK;
}

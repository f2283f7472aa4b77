#include "adapter/preset.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/discover.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_guard.h"
#include "base/text.h"

typedef struct reader {
  const char *path;
  el_preset_file *out;
  el_error *err;
} reader;

typedef struct field field;
typedef el_status (*field_fn)(reader *r, const field *f, const json_t *v);

struct field {
  const char *name;
  field_fn read;
  size_t offset; /* of the value in el_preset */
  double min, max;
  unsigned set; /* its bit in `set`; 0: none */
};

static el_status refuse_field(const reader *r, const char *name, const char *what) {
  return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %s", name, what);
}

static el_status preset_no_memory(const reader *r) {
  return el_fail_about(r->err, EL_ERR_NO_MEMORY, r->path, "out of memory");
}

/* jansson has checked UTF-8, and refuses \u0000 unless it is asked to allow it. */
static el_status check_preset_text(const reader *r, const char *name, const json_t *v, size_t min, size_t max) {
  if (!json_is_string(v)) return refuse_field(r, name, "is not a string");
  size_t len = json_string_length(v);
  if (len < min) return refuse_field(r, name, "is empty");
  if (len > max)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %zu bytes, the limit is %zu", name, len, max);
  return EL_OK;
}

/* ------------------------------------------------------------------- fields */

static el_status read_preset_text(reader *r, const field *f, const json_t *v) {
  el_status status = check_preset_text(r, f->name, v, (size_t)f->min, (size_t)f->max);
  if (!status) *(const char **)((char *)&r->out->preset + f->offset) = json_string_value(v);
  return status;
}

static el_status check_preset_number(const reader *r, const field *f, double d) {
  if (d >= f->min && d <= f->max) return EL_OK;
  return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %g is not in %g to %g", f->name, d, f->min, f->max);
}

static el_status read_float(reader *r, const field *f, const json_t *v) {
  if (!json_is_number(v)) return refuse_field(r, f->name, "is not a number");
  el_status status = check_preset_number(r, f, json_number_value(v));
  if (!status) *(float *)((char *)&r->out->preset + f->offset) = (float)json_number_value(v);
  return status;
}

/* 0 means only the most likely token; the engine takes values above 0. */
static el_status read_top_p(reader *r, const field *f, const json_t *v) {
  el_status status = read_float(r, f, v);
  float *top_p = &r->out->preset.sampling.top_p;
  if (!status && *top_p < FLT_MIN) *top_p = FLT_MIN;
  return status;
}

static el_status read_preset_int(reader *r, const field *f, const json_t *v) {
  if (!json_is_integer(v)) return refuse_field(r, f->name, "is not an integer");
  el_status status = check_preset_number(r, f, (double)json_integer_value(v));
  if (!status) *(int *)((char *)&r->out->preset + f->offset) = (int)json_integer_value(v);
  return status;
}

static el_status read_scale(reader *r, const field *f, const json_t *v) {
  el_status status = read_float(r, f, v);
  return status || r->out->preset.lora_scale != 0 ? status : refuse_field(r, f->name, "0 would be the base");
}

/* -1 is how other programs write "off". */
static el_status read_top_k(reader *r, const field *f, const json_t *v) {
  el_status status = read_preset_int(r, f, v);
  int *k = &r->out->preset.sampling.top_k;
  if (!status && *k < 0) *k = 0;
  return status;
}

static el_status read_seed(reader *r, const field *f, const json_t *v) {
  if (!json_is_integer(v)) return refuse_field(r, f->name, "is not an integer of 64 bits");
  r->out->preset.sampling.seed = (uint64_t)json_integer_value(v);
  return EL_OK;
}

/* Reads an array of at most `most` strings with at most most_bytes bytes each. */
static el_status read_strings(reader *r, const field *f, const json_t *v, size_t most, size_t most_bytes,
                              const char ***out, size_t *n_out) {
  if (!json_is_array(v)) return refuse_field(r, f->name, "is not an array of strings");
  size_t n = json_array_size(v);
  if (n > most)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %zu strings, the limit is %zu", f->name, n, most);
  if (n && !(*out = calloc(n, sizeof **out))) return preset_no_memory(r);
  for (size_t i = 0; i < n; i++) {
    const json_t *s = json_array_get(v, i);
    el_status status = check_preset_text(r, f->name, s, 1, most_bytes);
    if (status) return status;
    (*out)[i] = json_string_value(s);
  }
  *n_out = n;
  return EL_OK;
}

static el_status read_stop(reader *r, const field *f, const json_t *v) {
  el_preset *p = &r->out->preset;
  el_status status = read_strings(r, f, v, EL_MAX_STOPS, EL_MAX_STOP_BYTES, &r->out->stop, &p->n_stop);
  p->stop = r->out->stop;
  return status;
}

static el_status read_aliases(reader *r, const field *f, const json_t *v) {
  el_preset *p = &r->out->preset;
  char shown[EL_SHOW];
  el_status status = read_strings(r, f, v, EL_PRESET_MAX_ALIASES, EL_MAX_NAME_BYTES, &r->out->aliases, &p->n_aliases);
  p->aliases = r->out->aliases;
  for (size_t i = 0; i < p->n_aliases && !status; i++) {
    el_error why;
    el_str_show(el_str_of(p->aliases[i]), shown, sizeof shown);
    if (el_adapter_name_check(p->aliases[i], &why)) return refuse_field(r, f->name, why.message);
    if (!strcmp(p->aliases[i], "auto"))
      return refuse_field(r, f->name, "auto: is what requests call the router's decision");
    for (size_t k = 0; k < i; k++)
      if (!strcmp(p->aliases[k], p->aliases[i]))
        return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %s is there twice", f->name, shown);
  }
  return status;
}

static el_status read_preset_schema(reader *r, const field *f, const json_t *v) {
  if (!json_is_object(v)) return refuse_field(r, f->name, "is not an object");
  if (!(r->out->schema = el_json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY))) return preset_no_memory(r);
  size_t len = strlen(r->out->schema);
  if (len > EL_PRESET_MAX_SCHEMA)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: %zu bytes, the limit is %d", f->name, len,
                         EL_PRESET_MAX_SCHEMA);
  r->out->preset.schema = r->out->schema;
  r->out->preset.set |= EL_PRESET_SCHEMA;
  return EL_OK;
}

/* ----------------------------------------------------------------- template */

/* A name must be of a file in the folder itself: neither ".." nor a link may lead out, since the
 * target's text would come back in answers. */
static el_status check_file_name(const reader *r, const field *f, const char *name) {
  if (strlen(name) > EL_PRESET_MAX_FILE_NAME)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: a file's name of %zu bytes, the limit is %d", f->name,
                         strlen(name), EL_PRESET_MAX_FILE_NAME);
  if (name[0] == '.' || strchr(name, '/'))
    return refuse_field(r, f->name,
                        "is neither a template (it has no {{ and no {%) nor the name of a file in the same folder");
  for (const unsigned char *c = (const unsigned char *)name; *c; c++)
    if (*c < 0x20 || *c == 0x7f)
      return refuse_field(r, f->name, "is no template, and as a file's name it has a control character");
  return EL_OK;
}

static char *path_beside(const char *path, const char *name) {
  el_buf b = {0};
  const char *slash = strrchr(path, '/');
  if (el_buf_printf(&b, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name)) return b.data;
  el_buf_free(&b);
  return NULL;
}

static el_status read_template_file(reader *r, const field *f, const char *name) {
  el_preset_file *out = r->out;
  struct stat st;
  el_file file = {0};
  char shown[EL_SHOW];
  el_error why;
  el_str_show(el_str_of(name), shown, sizeof shown);
  if (!(out->template_path = path_beside(r->path, name))) return preset_no_memory(r);
  if (lstat(out->template_path, &st))
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: file %s: %s", f->name, shown, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: file %s: is not a regular file", f->name, shown);
  out->template_stamp = el_file_stamp_of(&st);
  if (el_file_read(out->template_path, EL_PRESET_MAX_CHAT_TEMPLATE, &file, &why))
    return el_fail_about(r->err, why.code, r->path, "%s: file %s: %s", f->name, shown, why.message + why.detail);
  const char *data = (const char *)file.data, *what = file.size ? NULL : "is empty";
  for (size_t i = 0; i < file.size && !what;) {
    int n = el_utf8_length(data + i, file.size - i);
    if (!n || !data[i]) what = n ? "has a NUL character" : "is not UTF-8";
    i += n ? (size_t)n : 1;
  }
  out->template_text = what ? NULL : el_str_dup((el_str){data, file.size});
  out->bytes += file.size;
  el_file_close(&file);
  if (what) return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: file %s: %s", f->name, shown, what);
  out->preset.chat_template = out->template_text;
  return out->template_text ? EL_OK : preset_no_memory(r);
}

static el_status read_preset_template(reader *r, const field *f, const json_t *v) {
  el_status status = check_preset_text(r, f->name, v, 1, EL_PRESET_MAX_CHAT_TEMPLATE);
  if (status) return status;
  const char *s = json_string_value(v);
  if (strstr(s, "{{") || strstr(s, "{%")) {
    r->out->preset.chat_template = s;
    return EL_OK;
  }
  status = check_file_name(r, f, s);
  return status ? status : read_template_file(r, f, s);
}

bool el_preset_is_current(const el_preset_file *f) {
  struct stat st;
  if (!f || !f->template_path) return true;
  if (lstat(f->template_path, &st)) return false;
  el_file_stamp now = el_file_stamp_of(&st);
  return !memcmp(&now, &f->template_stamp, sizeof now);
}

/* -------------------------------------------------------------------- table */

#define AT(member) offsetof(el_preset, member)
#define SAMPLING(member) AT(sampling.member)

/* Numbers have the limits that requests have. */
static const field FIELDS[] = {
    {"description", read_preset_text, AT(description), 0, EL_PRESET_MAX_DESCRIPTION, 0},
    {"system", read_preset_text, AT(system), 0, EL_PRESET_MAX_SYSTEM, 0},
    {"chat_template", read_preset_template, 0, 0, 0, 0},
    {"schema", read_preset_schema, 0, 0, 0, 0},
    {"aliases", read_aliases, 0, 0, 0, 0},
    {"lora_scale", read_scale, AT(lora_scale), -EL_MAX_SCALE, EL_MAX_SCALE, 0},
    {"max_tokens", read_preset_int, AT(max_tokens), 1, INT_MAX, EL_PRESET_MAX_TOKENS},
    {"stop", read_stop, 0, 0, 0, EL_PRESET_STOP},
    {"seed", read_seed, 0, 0, 0, EL_PRESET_SEED},
    {"temperature", read_float, SAMPLING(temperature), 0, 2, EL_PRESET_TEMPERATURE},
    {"top_p", read_top_p, SAMPLING(top_p), 0, 1, EL_PRESET_TOP_P},
    {"top_k", read_top_k, SAMPLING(top_k), -1, INT_MAX, EL_PRESET_TOP_K},
    {"min_p", read_float, SAMPLING(min_p), 0, 1, EL_PRESET_MIN_P},
    {"repetition_penalty", read_float, SAMPLING(repeat_penalty), 0.01, 100, EL_PRESET_REPETITION_PENALTY},
    {"repeat_last_n", read_preset_int, SAMPLING(repeat_last_n), -1, INT_MAX, EL_PRESET_REPEAT_LAST_N},
    {"frequency_penalty", read_float, SAMPLING(frequency_penalty), -2, 2, EL_PRESET_FREQUENCY_PENALTY},
    {"presence_penalty", read_float, SAMPLING(presence_penalty), -2, 2, EL_PRESET_PRESENCE_PENALTY},
};

static const field *find_preset_field(const char *name) {
  for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
    if (!strcmp(FIELDS[i].name, name)) return &FIELDS[i];
  return NULL;
}

static el_status read_preset_fields(reader *r) {
  const char *key;
  json_t *value;
  json_object_foreach(r->out->root, key, value) {
    char shown[EL_SHOW];
    const field *f = find_preset_field(key);
    el_str_show(el_str_of(key), shown, sizeof shown);
    if (!f) return el_fail_about(r->err, EL_ERR_FORMAT, r->path, "%s: is no field of a preset", shown);
    if (json_is_null(value)) continue; /* null means absent */
    el_status status = f->read(r, f, value);
    if (status) return status;
    r->out->preset.set |= f->set;
  }
  return EL_OK;
}

el_status el_preset_parse(const char *text, size_t len, const char *path, el_preset_file **out, el_error *err) {
  reader r = {.path = path, .err = err};
  if (len > EL_PRESET_MAX_BYTES)
    return el_fail_about(err, EL_ERR_FORMAT, path, "%zu bytes, the limit is %d", len, EL_PRESET_MAX_BYTES);
  size_t depth = el_json_depth(text, len);
  if (depth > EL_PRESET_MAX_DEPTH)
    return el_fail_about(err, EL_ERR_FORMAT, path, "is nested %zu levels deep, the limit is %d", depth,
                         EL_PRESET_MAX_DEPTH);
  if (!(r.out = calloc(1, sizeof *r.out))) return preset_no_memory(&r);
  r.out->preset.lora_scale = 1;
  r.out->bytes = sizeof *r.out + 2 * len;
  json_error_t why;
  bool short_of_memory;
  el_status status = EL_OK;
  r.out->root = el_json_load(text, len, JSON_REJECT_DUPLICATES, &why, &short_of_memory);
  if (!r.out->root && short_of_memory)
    status = preset_no_memory(&r);
  else if (!r.out->root) /* jansson's message may quote the text, which not everybody may see */
    status = el_fail_about(err, EL_ERR_FORMAT, path, "is not valid JSON (line %d, column %d)", why.line, why.column);
  else if (!json_is_object(r.out->root))
    status = el_fail_about(err, EL_ERR_FORMAT, path, "is not a JSON object");
  if (!status) status = read_preset_fields(&r);
  if (status)
    el_preset_free(r.out);
  else
    *out = r.out;
  return status;
}

void el_preset_free(el_preset_file *f) {
  if (!f) return;
  if (f->unmake) f->unmake(f->made);
  json_decref(f->root);
  free(f->schema);
  free(f->template_text);
  free(f->template_path);
  free(f->stop);
  free(f->aliases);
  free(f);
}

/* -------------------------------------------------------------------- files */

el_status el_preset_read_at(const char *path, el_preset_file **out, el_error *err) {
  el_file file = {0};
  el_status status = el_file_read(path, EL_PRESET_MAX_BYTES, &file, err);
  if (!status) status = el_preset_parse((const char *)file.data, file.size, path, out, err);
  el_file_close(&file);
  return status;
}

/* Writes the path of an adapter's preset to `b`, which stays empty if it cannot have one. False:
 * out of memory. */
static bool preset_path(const char *adapter_path, el_buf *b) {
  struct stat st;
  if (!stat(adapter_path, &st) && S_ISDIR(st.st_mode)) return el_buf_printf(b, "%s/%s", adapter_path, EL_PRESET_FILE);
  if (!el_signature_is_gguf(adapter_path)) return true;
  int stem = (int)(strlen(adapter_path) - (sizeof EL_GGUF_SUFFIX - 1));
  return el_buf_printf(b, "%.*s%s", stem, adapter_path, EL_PRESET_SUFFIX);
}

el_status el_preset_read(const char *adapter_path, el_preset_file **out, el_error *err) {
  el_buf path = {0};
  struct stat st;
  el_status status = EL_OK;
  if (!preset_path(adapter_path, &path))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, adapter_path, "out of memory");
  else if (!path.len || stat(path.data, &st))
    *out = NULL;
  else
    status = el_preset_read_at(path.data, out, err);
  el_buf_free(&path);
  return status;
}

el_status el_preset_check_aliases(const el_preset_file *f, const char *name, el_error *err) {
  const char *slash = strrchr(name, '/');
  size_t len = slash ? (size_t)(slash - name) + 1 : 0;
  char shown[EL_SHOW];
  for (size_t i = 0; f && len && i < f->preset.n_aliases; i++) {
    const char *alias = f->preset.aliases[i];
    if (!strncmp(alias, name, len) && alias[len]) continue;
    return el_fail(err, EL_ERR_FORMAT, "adapter %.255s: aliases: %s does not begin with the folder's name, %.*s", name,
                   el_str_show(el_str_of(alias), shown, sizeof shown), (int)len, name);
  }
  return EL_OK;
}

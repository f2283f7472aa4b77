#include "server/openapi/openapi.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "server/answers/writer.h"
#include "server/http/state.h"
#include "server/requests/fields.h"

enum { MAX_NAME = 300 }; /* of a method and a path */

/* jansson's setters that take a reference fail for NULL, so a failure anywhere fails the whole document. */
static bool set_json(json_t *object, const char *name, json_t *value) {
  return !json_object_set_new(object, name, value);
}

static bool set_json_copy(json_t *object, const char *name, const json_t *value) {
  return set_json(object, name, el_json_deep_copy(value));
}

/* ------------------------------------------------------------------- fields */

static json_t *number_schema(const el_field *f, bool whole) {
  json_t *schema = json_pack("{s:[s,s]}", "type", whole ? "integer" : "number", "null");
  bool ok = schema != NULL, limited = f->min < f->max;
  if (ok && limited) ok = set_json(schema, "minimum", whole ? json_integer((json_int_t)f->min) : json_real(f->min));
  if (ok && limited && f->max < INT_MAX)
    ok = set_json(schema, "maximum", whole ? json_integer((json_int_t)f->max) : json_real(f->max));
  if (ok) return schema;
  json_decref(schema);
  return NULL;
}

/* What its reader and its limits say. */
static json_t *schema_of_row(const el_field *f) {
  if (f->read == el_read_bool) return json_pack("{s:[s,s]}", "type", "boolean", "null");
  if (f->read == el_read_int || f->read == el_read_max_tokens || f->read == el_read_top_k)
    return number_schema(f, true);
  if (f->read == el_read_float || f->read == el_read_top_p) return number_schema(f, false);
  if (f->read == el_read_ignored) return json_pack("{s:s}", "description", "Accepted, without effect");
  if (f->read == el_read_unsupported)
    return json_pack("{s:s, s:[n,b,s,[]]}", "description", "Not supported: off alone", "enum", 0, "");
  return json_object();
}

/* Adds a dialect's own rows (where 0), or the rows of OpenAI's table that it shares. Its own row comes before one of
 * the same name there. */
static bool add_fields(json_t *properties, const el_field *fields, size_t n, unsigned where, const json_t *known) {
  bool ok = true;
  for (size_t i = 0; ok && i < n; i++) {
    const el_field *f = &fields[i];
    if ((where && !(f->where & where)) || json_object_get(properties, f->name)) continue;
    json_t *schema = schema_of_row(f), *more = json_object_get(known, f->name);
    ok = (!more || !json_object_update_missing(schema, more)) && set_json(properties, f->name, schema);
  }
  return ok;
}

static json_t *make_body_schema(const el_api *api, const json_t *about, const json_t *known) {
  json_t *schema = json_pack("{s:s, s:{}, s:b}", "type", "object", "properties", "additionalProperties", 0);
  json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(about, "required");
  bool ok = schema && add_fields(properties, api->fields, api->n_fields, 0, known) &&
            (!api->shared || add_fields(properties, el_openai_fields, el_n_openai_fields, api->shared, known));
  if (ok && required) ok = set_json_copy(schema, "required", required);
  if (ok) return schema;
  json_decref(schema);
  return NULL;
}

/* --------------------------------------------------------------- operations */

static json_t *json_content(json_t *schema) {
  return json_pack("{s:{s:o}}", "application/json", "schema", schema);
}

static bool add_response(json_t *responses, const char *status, const char *what, json_t *content) {
  return set_json(responses, status, json_pack("{s:s, s:o}", "description", what, "content", content));
}

/* The content of a 200: JSON with a schema, a stream, or text. */
static json_t *response_content(const el_route *r, const json_t *about) {
  const char *stream = r->api && r->api->writer ? r->api->writer->stream_type : NULL;
  json_t *content = json_object(), *schema = json_object_get(about, "answer"), *type;
  bool ok = content && (!schema || set_json(content, "application/json", json_pack("{s:O}", "schema", schema)));
  if (ok && json_is_true(json_object_get(about, "stream")))
    ok = set_json(content, stream ? stream : "text/event-stream", json_object());
  size_t i;
  json_array_foreach(json_object_get(about, "types"), i, type) {
    ok = ok && set_json(content, json_string_value(type), json_pack("{s:{s:s}}", "schema", "type", "string"));
  }
  if (ok && !json_object_size(content)) ok = set_json(content, "application/json", json_object());
  if (ok) return content;
  json_decref(content);
  return NULL;
}

static json_t *make_responses(const el_route *r, bool post, const json_t *about) {
  json_t *responses = json_object(), *unavailable = json_object_get(about, "503"),
         *refused = json_object_get(about, "501");
  bool other = post && r->api && r->api->write_error; /* as its dialect has errors */
  json_t *own = json_object_get(about, "error");
  json_t *error = own     ? json_incref(own)
                  : other ? json_object()
                          : json_pack("{s:s}", "$ref", "#/components/schemas/Error");
  bool ok = responses && add_response(responses, "200", "Done", response_content(r, about)) &&
            (!refused || add_response(responses, "501", json_string_value(refused), json_content(json_object()))) &&
            (!unavailable || add_response(responses, "503", "Ending", json_content(json_incref(unavailable)))) &&
            add_response(responses, "default", "Why not", json_content(error));
  if (ok) return responses;
  json_decref(responses);
  return NULL;
}

static bool add_parameters(json_t *operation, const el_route *r, const json_t *about) {
  json_t *list = json_array(), *name;
  bool ok = list != NULL;
  if (ok && r->has_rest) ok = !json_array_append_new(list, json_pack("{s:s}", "$ref", "#/components/parameters/name"));
  size_t i;
  json_array_foreach(json_object_get(about, "query"), i, name) {
    char ref[MAX_NAME];
    snprintf(ref, sizeof ref, "#/components/parameters/%s", json_string_value(name));
    ok = ok && !json_array_append_new(list, json_pack("{s:s}", "$ref", ref));
  }
  if (!ok || !json_array_size(list)) return json_decref(list), ok;
  return set_json(operation, "parameters", list);
}

/* operationId: "get_v1_models_name". */
static void name_operation(char *out, size_t size, const char *method, const char *path) {
  size_t at = (size_t)snprintf(out, size, "%s", method);
  for (const char *p = path; *p && at + 2 < size; p++)
    if ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z')
      out[at++] = *p;
    else if ((*p >= '0' && *p <= '9') || (out[at - 1] != '_' && p[1]))
      out[at++] = *p >= '0' && *p <= '9' ? *p : '_';
  out[at] = 0;
}

static json_t *make_operation(const el_route *r, const char *method, const char *path, const json_t *source) {
  char key[MAX_NAME], id[MAX_NAME];
  snprintf(key, sizeof key, "%s %s", method, path);
  const json_t *about = json_object_get(json_object_get(source, "endpoints"), key);
  bool post = !strcmp(method, "POST");
  name_operation(id, sizeof id, post ? "post" : !strcmp(method, "GET") ? "get" : "delete", path);
  const char *summary = json_string_value(json_object_get(about, "summary"));
  json_t *operation = json_pack("{s:s, s:s}", "operationId", id, "summary", summary ? summary : key);
  bool ok = operation && set_json(operation, "responses", make_responses(r, post, about)) &&
            add_parameters(operation, r, about);
  json_t *body = json_object_get(about, "body");
  if (ok && post && (r->api || body)) {
    json_t *schema = body ? json_incref(body) : make_body_schema(r->api, about, json_object_get(source, "fields"));
    ok = set_json(operation, "requestBody", json_pack("{s:b, s:o}", "required", 1, "content", json_content(schema)));
  }
  if (ok && r->open) ok = set_json(operation, "security", json_array());
  if (ok) return operation;
  json_decref(operation);
  return NULL;
}

static json_t *make_paths(const el_route *routes, size_t n, const json_t *source) {
  json_t *paths = json_object();
  bool ok = paths != NULL;
  for (size_t i = 0; ok && i < n; i++) {
    const el_route *r = &routes[i];
    char path[MAX_NAME];
    snprintf(path, sizeof path, "%s%s", r->path, r->has_rest ? "{name}" : "");
    json_t *item = json_object();
    ok = item && (!r->get || set_json(item, "get", make_operation(r, "GET", path, source))) &&
         (!r->post || set_json(item, "post", make_operation(r, "POST", path, source))) &&
         (!r->del || set_json(item, "delete", make_operation(r, "DELETE", path, source)));
    ok = set_json(paths, path, item) && ok;
  }
  if (ok) return paths;
  json_decref(paths);
  return NULL;
}

/* ------------------------------------------------------------- the document */

static char *write_document(el_server *s) {
  json_error_t error;
  json_t *source = json_loadb(el_openapi_text, el_openapi_bytes, 0, &error);
  json_t *document = json_pack("{s:s, s:O, s:[{s:s}]}", "openapi", "3.1.0", "info", json_object_get(source, "info"),
                               "servers", "url", "/");
  char *text = NULL;
  if (document && set_json(json_object_get(document, "info"), "version", json_string(el_version())) &&
      (!atomic_load(&s->asks_for_key) || set_json(document, "security", json_pack("[{s:[]}]", "key"))) &&
      set_json(document, "paths", make_paths(s->routes, s->n_routes, source)) &&
      set_json_copy(document, "components", json_object_get(source, "components")))
    text = el_json_dumps(document, JSON_COMPACT);
  json_decref(document);
  json_decref(source);
  return text;
}

bool el_openapi_get(const el_query *q, el_answer *out, el_api_error *e) {
  char *text = write_document(q->server);
  bool ok = text && el_buf_append(&out->body, text, strlen(text));
  free(text);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

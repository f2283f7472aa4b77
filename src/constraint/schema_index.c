/* Indexes the subschemas of a document: their numbers, base URIs and anchors; and resolves $ref. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "constraint/schema_private.h"

/* ---------------------------------------------------------------------- URIs (RFC 3986, 5.2) */

static size_t scheme_length(const char *uri) {
  size_t n = strcspn(uri, ":/?#");
  return n && uri[n] == ':' ? n + 1 : 0;
}

/* Removes "." and ".." from the path that begins at `path`, in place. */
static void remove_dots(char *path) {
  char *out = path;
  for (const char *in = path; *in;) {
    size_t n = strcspn(in + 1, "/?#") + 1; /* "/segment" */
    if (*in != '/') n = strcspn(in, "/?#");
    if (*in == '?' || *in == '#') n = strlen(in);
    bool one = n == 2 && !memcmp(in, "/.", 2), two = n == 3 && !memcmp(in, "/..", 3), last = !in[n];
    if (two)
      while (out > path && *--out != '/') continue;
    if (one || two) {
      if (last) *out++ = '/';
    } else {
      memmove(out, in, n);
      out += n;
    }
    in += n;
  }
  *out = 0;
}

/* Resolves `uri`, which has no fragment, against `base`. */
static const char *resolve_uri(el_schema *s, const char *base, const char *uri) {
  if (!*uri) return base;
  size_t scheme = scheme_length(base);
  char *all;
  if (scheme_length(uri)) {
    all = (char *)el_schema_print(s, "%s", uri);
    scheme = scheme_length(uri);
  } else if (!strncmp(uri, "//", 2)) {
    all = (char *)el_schema_print(s, "%.*s%s", (int)scheme, base, uri);
  } else {
    size_t authority = strncmp(base + scheme, "//", 2) ? 0 : 2 + strcspn(base + scheme + 2, "/?#");
    size_t path = scheme + authority, keep = path;
    if (*uri != '/') {
      for (size_t i = path; base[i] && base[i] != '?' && base[i] != '#'; i++)
        if (base[i] == '/') keep = i + 1;
      if (*uri == '?') keep = path + strcspn(base + path, "?#");
    }
    bool slash = authority && keep == path && *uri != '/' && *uri != '?';
    all = (char *)el_schema_print(s, "%.*s%s%s", (int)keep, base, slash ? "/" : "", uri);
  }
  size_t path = scheme;
  if (!strncmp(all + path, "//", 2)) path += 2 + strcspn(all + path + 2, "/?#");
  if (all[path] == '/') remove_dots(all + path);
  return all;
}

/* ---------------------------------------------------------------------- numbers */

static uint32_t node_slot_of(const el_schema *s, const json_t *schema) {
  uint64_t h = (uint64_t)(uintptr_t)schema * 0x9e3779b97f4a7c15u;
  uint32_t i = (uint32_t)(h >> 32) & (s->n_node_slots - 1);
  while (s->node_slots[i] && s->nodes[s->node_slots[i] - 1].schema != schema) i = (i + 1) & (s->n_node_slots - 1);
  return i;
}

static void grow_slots(el_schema *s) {
  if (s->n_nodes * 2 < s->n_node_slots) return;
  s->n_node_slots = s->n_node_slots ? s->n_node_slots * 2 : 256;
  s->node_slots = el_schema_alloc(s, sizeof *s->node_slots * s->n_node_slots);
  for (uint32_t i = 0; i < s->n_nodes; i++) s->node_slots[node_slot_of(s, s->nodes[i].schema)] = i + 1;
}

static void add_anchor(el_schema *s, uint32_t node, const char *name) {
  s->anchors = el_schema_more(s, s->anchors, sizeof *s->anchors, s->n_anchors, &s->cap_anchors);
  s->anchors[s->n_anchors++] = (el_schema_anchor){s->nodes[node].resource, name, node};
}

static void add_resource(el_schema *s, uint32_t node, const char *uri, bool ref_alone) {
  s->resources = el_schema_more(s, s->resources, sizeof *s->resources, s->n_resources, &s->cap_resources);
  s->resources[s->n_resources] = (el_schema_resource){uri, s->nodes[node].schema, ref_alone};
  s->nodes[node].resource = s->n_resources++;
}

static const char *string_keyword(const json_t *schema, const char *keyword) {
  return json_string_value(json_object_get(schema, keyword));
}

static void read_schema_ids(el_schema *s, uint32_t node) {
  const json_t *j = s->nodes[node].schema;
  bool ref_alone = s->resources[s->nodes[node].resource].ref_alone;
  const char *id = string_keyword(j, "$id"), *anchor = string_keyword(j, "$anchor"),
             *dynamic = string_keyword(j, "$dynamicAnchor");
  if (id && !(ref_alone && json_object_get(j, "$ref"))) {
    const char *fragment = strchr(id, '#');
    if (id[0] == '#') {
      add_anchor(s, node, id + 1);
    } else {
      const char *own = fragment ? el_schema_print(s, "%.*s", (int)(fragment - id), id) : id;
      add_resource(s, node, resolve_uri(s, s->resources[s->nodes[node].resource].uri, own), ref_alone);
      if (fragment && fragment[1]) add_anchor(s, node, fragment + 1);
    }
  }
  if (anchor) add_anchor(s, node, anchor);
  if (dynamic) add_anchor(s, node, dynamic);
}

/* ---------------------------------------------------------------------- keywords */

typedef enum kind {
  NOTE,      /* is not about values, or belongs to a keyword that is */
  ASSERTION, /* of the value itself */
  IN_PLACE,  /* other schemas of the same value */
  REFUSED
} kind;
typedef enum holds { NOTHING, SCHEMA, LIST, MAP, SCHEMA_OR_LIST } holds;

static const struct keyword {
  const char *name;
  kind kind;
  holds holds; /* schemas */
} keywords[] = {
    {"$anchor", NOTE, NOTHING},
    {"$comment", NOTE, NOTHING},
    {"$defs", NOTE, MAP},
    {"$dynamicAnchor", NOTE, NOTHING},
    {"$dynamicRef", REFUSED, NOTHING},
    {"$id", NOTE, NOTHING},
    {"$recursiveRef", REFUSED, NOTHING},
    {"$ref", IN_PLACE, NOTHING},
    {"$schema", NOTE, NOTHING},
    {"additionalItems", ASSERTION, SCHEMA},
    {"additionalProperties", ASSERTION, SCHEMA},
    {"allOf", IN_PLACE, LIST},
    {"anyOf", IN_PLACE, LIST},
    {"const", ASSERTION, NOTHING},
    {"contains", ASSERTION, SCHEMA},
    {"definitions", NOTE, MAP},
    {"dependencies", IN_PLACE, MAP},
    {"dependentRequired", IN_PLACE, NOTHING},
    {"dependentSchemas", IN_PLACE, MAP},
    {"else", NOTE, SCHEMA},
    {"enum", ASSERTION, NOTHING},
    {"exclusiveMaximum", ASSERTION, NOTHING},
    {"exclusiveMinimum", ASSERTION, NOTHING},
    {"format", ASSERTION, NOTHING},
    {"if", IN_PLACE, SCHEMA},
    {"items", ASSERTION, SCHEMA_OR_LIST},
    {"maxContains", NOTE, NOTHING},
    {"maxItems", ASSERTION, NOTHING},
    {"maxLength", ASSERTION, NOTHING},
    {"maxProperties", ASSERTION, NOTHING},
    {"maximum", ASSERTION, NOTHING},
    {"minContains", NOTE, NOTHING},
    {"minItems", ASSERTION, NOTHING},
    {"minLength", ASSERTION, NOTHING},
    {"minProperties", ASSERTION, NOTHING},
    {"minimum", ASSERTION, NOTHING},
    {"multipleOf", ASSERTION, NOTHING},
    {"not", IN_PLACE, SCHEMA},
    {"nullable", NOTE, NOTHING},
    {"oneOf", IN_PLACE, LIST},
    {"pattern", ASSERTION, NOTHING},
    {"patternProperties", ASSERTION, MAP},
    {"prefixItems", ASSERTION, LIST},
    {"properties", ASSERTION, MAP},
    {"propertyNames", ASSERTION, SCHEMA},
    {"required", ASSERTION, NOTHING},
    {"then", NOTE, SCHEMA},
    {"type", ASSERTION, NOTHING},
    {"unevaluatedItems", REFUSED, SCHEMA},
    {"unevaluatedProperties", REFUSED, SCHEMA},
    {"uniqueItems", ASSERTION, NOTHING},
};

static const struct keyword *keyword_of(const char *name) {
  size_t lo = 0, hi = sizeof keywords / sizeof *keywords;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    int c = strcmp(name, keywords[mid].name);
    if (!c) return &keywords[mid];
    if (c < 0)
      hi = mid;
    else
      lo = mid + 1;
  }
  return NULL;
}

/* ---------------------------------------------------------------------- the walk */

static const char *escape_pointer_token(el_schema *s, const char *token) {
  if (!strpbrk(token, "~/")) return token;
  char *out = el_schema_alloc(s, 2 * strlen(token) + 1), *at = out;
  for (; *token; token++) {
    if (*token == '~' || *token == '/') {
      *at++ = '~';
      *at++ = *token == '~' ? '0' : '1';
    } else {
      *at++ = *token;
    }
  }
  return out;
}

static void index_schema(el_schema *s, const json_t *schema, uint32_t parent, const char *step) {
  if (!json_is_object(schema)) return;
  grow_slots(s);
  uint32_t slot = node_slot_of(s, schema);
  if (s->node_slots[slot]) return;
  if (s->n_nodes >= EL_SCHEMA_NODES)
    el_schema_stop(s, EL_ERR_TOO_LONG, " has more than %d subschemas", EL_SCHEMA_NODES);
  s->nodes = el_schema_more(s, s->nodes, sizeof *s->nodes, s->n_nodes, &s->cap_nodes);
  uint32_t node = s->n_nodes++;
  s->nodes[node] = (el_schema_node){.schema = schema, .parent = parent, .step = step};
  if (node) s->nodes[node].resource = s->nodes[parent].resource;
  s->node_slots[slot] = node + 1;
  read_schema_ids(s, node);
  const char *key;
  json_t *value, *item;
  json_object_foreach((json_t *)schema, key, value) {
    const struct keyword *k = keyword_of(key);
    if (!k || k->holds == NOTHING) continue;
    if (!strcmp(key, "oneOf")) s->has_one_of = true;
    if (k->holds != LIST && k->holds != MAP && json_is_object(value)) index_schema(s, value, node, k->name);
    if ((k->holds == LIST || k->holds == SCHEMA_OR_LIST) && json_is_array(value)) {
      size_t i;
      json_array_foreach(value, i, item) {
        if (json_is_object(item)) index_schema(s, item, node, el_schema_print(s, "%s/%zu", key, i));
      }
    }
    if (k->holds == MAP && json_is_object(value)) {
      const char *name;
      json_object_foreach(value, name, item) {
        if (json_is_object(item))
          index_schema(s, item, node, el_schema_print(s, "%s/%s", key, escape_pointer_token(s, name)));
      }
    }
  }
}

/* Whether the dialect's keywords have the meaning that is implemented here. */
static bool is_known_dialect(const char *uri, bool *ref_alone) {
  static const struct {
    const char *uri;
    bool ref_alone;
  } dialects[] = {
      {"json-schema.org/draft-04/schema", true},       {"json-schema.org/draft-06/schema", true},
      {"json-schema.org/draft-07/schema", true},       {"json-schema.org/draft/2019-09/schema", false},
      {"json-schema.org/draft/2020-12/schema", false}, {"json-schema.org/schema", false},
  };
  const char *at = strstr(uri, "://");
  if (!at) return false;
  size_t n = strcspn(at + 3, "#");
  for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
    if (n == strlen(dialects[i].uri) && !strncmp(at + 3, dialects[i].uri, n)) {
      *ref_alone = dialects[i].ref_alone;
      return true;
    }
  return false;
}

void el_schema_index(el_schema *s) {
  bool ref_alone = false;
  const char *dialect = string_keyword(s->root, "$schema");
  if (dialect && !is_known_dialect(dialect, &ref_alone)) {
    char shown[EL_SHOW];
    el_str_show((el_str){dialect, strlen(dialect)}, shown, sizeof shown);
    el_schema_stop(s, EL_ERR_UNSUPPORTED, ": \"$schema\" names a dialect that is not supported: %s", shown);
  }
  s->resources = el_schema_more(s, NULL, sizeof *s->resources, 0, &s->cap_resources);
  s->resources[s->n_resources++] = (el_schema_resource){"", s->root, ref_alone};
  index_schema(s, s->root, 0, "");
}

uint32_t el_schema_node_of(el_schema *s, const json_t *schema, uint32_t parent, const char *step) {
  grow_slots(s);
  uint32_t found = s->node_slots[node_slot_of(s, schema)];
  if (found) return found - 1;
  uint32_t node = s->n_nodes;
  index_schema(s, schema, parent, step);
  return node;
}

bool el_schema_ref_alone(const el_schema *s, uint32_t node) {
  return s->resources[s->nodes[node].resource].ref_alone && json_object_get(s->nodes[node].schema, "$ref");
}

/* ---------------------------------------------------------------------- references */

static int hex_value(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* Decodes percent signs of a fragment, and ~ in a token of a JSON pointer, in place. */
static void unescape_pointer(char *text, bool pointer) {
  char *out = text;
  for (const char *in = text; *in; in++) {
    if (!pointer && *in == '%' && hex_value(in[1]) >= 0 && hex_value(in[2]) >= 0) {
      *out++ = (char)(hex_value(in[1]) * 16 + hex_value(in[2]));
      in += 2;
    } else if (pointer && *in == '~' && (in[1] == '0' || in[1] == '1')) {
      *out++ = *++in == '0' ? '~' : '/';
    } else {
      *out++ = *in;
    }
  }
  *out = 0;
}

static const json_t *follow_pointer(const json_t *at, char *pointer) {
  char *end = pointer + strlen(pointer);
  for (char *token = pointer + 1; at && token <= end;) {
    size_t n = strcspn(token, "/");
    char *next = token + n + 1;
    token[n] = 0;
    unescape_pointer(token, true);
    if (json_is_array(at)) {
      char *rest;
      unsigned long i = strtoul(token, &rest, 10);
      at = *token >= '0' && *token <= '9' && !*rest ? json_array_get(at, i) : NULL;
    } else {
      at = json_object_get(at, token);
    }
    token = next;
  }
  return at;
}

const json_t *el_schema_resolve(el_schema *s, uint32_t from, const char *ref, uint32_t *node) {
  char shown[EL_SHOW];
  el_str_show((el_str){ref, strlen(ref)}, shown, sizeof shown);
  size_t n = strcspn(ref, "#");
  uint32_t resource = s->nodes[from].resource;
  if (n) {
    const char *uri = resolve_uri(s, s->resources[resource].uri, el_schema_print(s, "%.*s", (int)n, ref));
    uint32_t i = 0;
    while (i < s->n_resources && (strcmp(s->resources[i].uri, uri) || !*uri)) i++;
    if (i == s->n_resources)
      el_schema_fail(s, from, EL_ERR_UNSUPPORTED, "\"$ref\" names what is not in this schema: %s", shown);
    resource = i;
  }
  const json_t *target = s->resources[resource].root;
  if (ref[n]) {
    char *fragment = (char *)el_schema_print(s, "%s", ref + n + 1);
    unescape_pointer(fragment, false);
    if (*fragment == '/') {
      target = follow_pointer(target, fragment);
    } else if (*fragment) {
      target = NULL;
      for (uint32_t i = 0; i < s->n_anchors && !target; i++)
        if (s->anchors[i].resource == resource && !strcmp(s->anchors[i].name, fragment))
          target = s->nodes[s->anchors[i].node].schema;
    }
  }
  if (!json_is_object(target) && !json_is_boolean(target))
    el_schema_fail(s, from, EL_ERR_INVALID, "\"$ref\" names what is not a schema: %s", shown);
  if (json_is_object(target)) {
    uint32_t before = s->n_nodes;
    *node = el_schema_node_of(s, target, from, "$ref");
    if (*node == before && before < s->n_nodes && !json_object_get(target, "$id")) s->nodes[before].resource = resource;
  }
  return target;
}

/* ---------------------------------------------------------------------- what a node has */

void el_schema_check_keywords(el_schema *s, uint32_t node) {
  if (s->nodes[node].checked) return;
  const json_t *schema = s->nodes[node].schema;
  const char *key;
  json_t *value;
  bool asserts = false;
  if (!el_schema_ref_alone(s, node)) {
    json_object_foreach((json_t *)schema, key, value) {
      const struct keyword *k = keyword_of(key);
      if (!k) continue;
      if (k->kind == REFUSED) el_schema_unsupported(s, node, k->name);
      asserts |= k->kind == ASSERTION;
    }
  }
  s->nodes[node].checked = true;
  s->nodes[node].asserts = asserts;
}

const json_t *el_schema_prefix(const json_t *schema, const char **rest) {
  const json_t *prefix = json_object_get(schema, "prefixItems"), *items = json_object_get(schema, "items");
  bool old = !prefix && json_is_array(items);
  *rest = old ? "additionalItems" : "items";
  return old ? items : prefix;
}

bool el_schema_count(el_schema *s, uint32_t node, const char *keyword, uint32_t *out) {
  const json_t *j = json_object_get(s->nodes[node].schema, keyword);
  if (!j) return false;
  double x = json_number_value(j);
  if (!json_is_number(j) || !(x >= 0) || x != (double)(uint64_t)(x < 1e18 ? x : 1e18))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" must be an integer of 0 or more", keyword);
  *out = x < UINT32_MAX - 1 ? (uint32_t)x : UINT32_MAX - 1;
  return true;
}

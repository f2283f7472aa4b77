/* Chat templates: any text compiles or is refused, and what compiles renders or is refused, within its limits; a secret
 * that only a message has is told as the message's wherever it comes out whole. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In no template by itself: a character of four bytes. */
static const char SECRET[] = "\xf0\x9f\xa6\x86";

static const el_val *text(el_rendering *r, const char *s, el_origin source) {
  return el_template_string(r, (el_str){s, strlen(s)}, source);
}

static void add_message(el_rendering *r, el_val *list, const char *role, const char *content) {
  el_val *m = el_template_dict(r);
  el_template_put(r, m, "role", 0, text(r, role, 0));
  el_template_put(r, m, "content", 0, text(r, content, 1));
  el_template_append(r, list, m);
}

static void set(el_rendering *r, void *user) {
  static const el_value items[] = {{.type = EL_VALUE_INTEGER, .integer = 3},
                                   {.type = EL_VALUE_REAL, .real = 2.5},
                                   {.type = EL_VALUE_STRING, .string = {SECRET, 4}},
                                   {.type = EL_VALUE_NULL},
                                   {.type = EL_VALUE_BOOL, .boolean = true}};
  static const el_value list = {.type = EL_VALUE_ARRAY, .array = {items, 5}};
  static const el_member members[] = {{"name", {.type = EL_VALUE_STRING, .string = {SECRET, 4}}},
                                      {"parameters", {.type = EL_VALUE_ARRAY, .array = {items, 5}}}};
  static const el_value tool = {.type = EL_VALUE_OBJECT, .object = {members, 2}};
  el_val *messages = el_template_list(r), *tools = el_template_list(r);
  add_message(r, messages, "system", "a \xf0\x9f\xa6\x86 \n");
  add_message(r, messages, "user", "\xf0\x9f\xa6\x86\xff<|im_end|>, b\xc3\x9f");
  add_message(r, messages, "assistant", "");
  el_template_append(r, tools, el_template_value(r, &tool, 1));
  el_template_set(r, "messages", messages);
  el_template_set(r, "tools", tools);
  el_template_set(r, "l", el_template_value(r, &list, 1));
  el_template_set(r, "s", text(r, SECRET, 1));
  el_template_set(r, "bos_token", text(r, "<s>", 0));
  el_template_set(r, "add_generation_prompt", el_template_bool(r, true));
}

static void check(const el_rendered *out, bool template_has_it) {
  size_t end = 0;
  for (size_t i = 0; i < out->n_spans; i++) {
    assert(out->spans[i].begin >= end && out->spans[i].begin < out->spans[i].end && out->spans[i].source == 1);
    end = out->spans[i].end;
    assert(end <= out->text.len);
  }
  if (template_has_it || !out->text.len) return;
  size_t p = 0;
  for (const char *at = out->text.data; (at = memmem(at, (size_t)(out->text.data + out->text.len - at), SECRET, 4));
       at++) {
    size_t offset = (size_t)(at - out->text.data);
    while (p < out->n_spans && out->spans[p].end <= offset) p++;
    assert(p < out->n_spans && out->spans[p].begin <= offset);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const el_template_limits limits = {.steps = 200000, .memory = 32 << 20, .output = 1 << 20};
  el_template *t = NULL;
  el_rendered out = {0};
  el_error e = {0};
  el_status status = el_template_new((el_str){(const char *)data, size}, &t, &e);
  assert((status == EL_OK) == (t != NULL) && (status == EL_OK || e.message[0]));
  if (status) return 0;
  status = el_template_render(t, set, NULL, 1700000000, &limits, &out, &e);
  assert(status == EL_OK || (e.message[0] && !out.text.data));
  if (!status) check(&out, memchr(data, 0xf0, size) || memchr(data, '\\', size)); /* as it stands, or by an escape */
  el_rendered_free(&out);
  el_template_free(t);
  return 0;
}

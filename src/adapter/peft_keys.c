#include "adapter/peft_keys.h"

#include <string.h>

#include "adapter/lora_halves.h"

/* Takes the first component of a dotted name. */
static el_str next_component(el_str *rest) {
  const char *dot = rest->len ? memchr(rest->data, '.', rest->len) : NULL;
  el_str c = {rest->data, dot ? (size_t)(dot - rest->data) : rest->len};
  const size_t used = c.len + (dot ? 1 : 0);
  rest->data += used;
  rest->len -= used;
  return c;
}

static bool is_listed_component(el_str s, const char *const *list) {
  while (*list && !el_str_eq(s, *list)) list++;
  return *list;
}

static bool is_wrapper(el_str s) {
  static const char *const wrappers[] = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                         NULL};
  return is_listed_component(s, wrappers);
}

/* Whether the adapter's own name follows this component. */
static bool has_name_behind(el_str s) {
  static const char *const parts[] = {
      "lora_A",          "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_velora_embed",
      "modules_to_save", NULL};
  return is_listed_component(s, parts);
}

static bool is_parameter(el_str s) {
  return el_str_eq(s, "weight") || el_str_eq(s, "bias");
}

/* Takes the first component that no wrapper added; what is left may then be empty. */
static el_str next_own_component(el_str *rest) {
  el_str c;
  do c = next_component(rest);
  while (is_wrapper(c) && rest->len);
  return c;
}

static void put_component(el_str *out, char *room, el_str component) {
  if (out->len) room[out->len++] = '.';
  if (component.len) memcpy(room + out->len, component.data, component.len);
  out->len += component.len;
}

/* Takes the adapter's name after lora_A or the like, if that is what follows. */
static void take_name(el_str part, el_str *rest, el_str *adapter) {
  el_str after = *rest, name = next_own_component(&after), behind = after;
  const el_str last = next_own_component(&behind);
  const bool whole = el_str_eq(part, "modules_to_save"); /* its parameters follow, whatever their
                                                          * names */
  if (!name.len || (!after.len && is_parameter(name))) return;
  if (after.len && !whole && (behind.len || !is_parameter(last))) return;
  *adapter = name;
  *rest = after;
}

el_str el_peft_key(el_str key, char *room, el_str *adapter) {
  el_str out = {room, 0}, rest = key;
  *adapter = (el_str){key.data, 0};
  while (rest.len) {
    el_str at = rest;
    const el_str c = next_own_component(&rest);
    el_str after = rest;
    if (!out.len && !c.len) { /* not a name that PEFT writes: unchanged */
      memcpy(room, at.data, at.len);
      return (el_str){room, at.len};
    }
    /* Once for each PeftModel that it is wrapped in. */
    if (!out.len && el_str_eq(c, "base_model") && el_str_eq(next_own_component(&after), "model")) {
      rest = after;
      continue;
    }
    if (!el_str_eq(c, "modules_to_save") || !out.len) put_component(&out, room, c);
    if (has_name_behind(c)) take_name(c, &rest, adapter);
    /* DoRA's magnitude has been a parameter, and later the weight of a module. */
    if (el_str_eq(c, "lora_magnitude_vector") && el_str_eq(rest, "weight")) rest.len = 0;
  }
  /* not one of PEFT's: the dot stays */
  if (key.len && key.data[key.len - 1] == '.') room[out.len++] = '.';
  return out;
}

bool el_peft_skip_layer(el_str *module, int *layer) {
  static const char *const before[] = {"model", "language_model", "text_model", "transformer", NULL};
  el_str rest = *module;
  for (;;) {
    el_str c = next_component(&rest);
    if (el_str_eq(c, "layers")) break;
    if (!rest.len || !is_listed_component(c, before)) return false;
  }
  if (!el_lora_skip_layer(&rest, layer) || !el_str_skip(&rest, ".")) return false;
  *module = rest;
  return true;
}

#include "server/answers/decision.h"

#include <string.h>

#include "base/json_out.h"

bool el_decision_write(const el_packed_event *r, el_buf *out) {
  const char *name = el_packed_event_text(r);
  const el_packed_candidate *all = el_packed_event_candidates(r);
  bool ok = el_buf_printf(out, "\"adapter\":") && el_json_cstring(out, name) && el_buf_printf(out, ",\"candidates\":[");
  for (uint32_t i = 0; ok && i < r->n_candidates; i++) {
    name += strlen(name) + 1;
    ok = el_buf_printf(out, "%s{\"name\":", i ? "," : "") && el_json_cstring(out, name) &&
         el_buf_printf(out, ",\"score\":") && el_json_float(out, all[i].score) &&
         el_buf_printf(out, ",\"resident\":%s}", all[i].resident ? "true" : "false");
  }
  return ok && el_buf_printf(out, "],\"choice_ms\":%.3f", r->choice_ms);
}

bool el_decision_header(const char *name, el_buf *out) {
  bool ok = true;
  for (; ok && *name; name++) {
    unsigned char c = (unsigned char)*name;
    ok = c > 0x20 && c < 0x7f && c != '%' ? el_buf_append(out, name, 1) : el_buf_printf(out, "%%%02X", c);
  }
  return ok;
}

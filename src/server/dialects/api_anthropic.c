/* Anthropic's Messages. anthropic_input.c rewrites a body to that of a chat, so adapters, tools and sampling are those
 * of chats. anthropic_writer.c writes the answer as content blocks. */
#include "server/dialects/anthropic.h"
#include "server/dialects/openai.h"

/* Fields beside those of chats. el_anthropic_prepare makes the first ones. */
static const el_field FIELDS[] = {
    EL_FIELD("system", 0, el_read_kept),
    EL_FIELD("stop_sequences", 0, el_read_kept),
    EL_FIELD("thinking", 0, el_read_kept),
    EL_FIELD("metadata", 0, el_read_ignored), /* who asks, like */
    EL_FIELD("service_tier", 0, el_read_ignored),
    EL_FIELD("inference_geo", 0, el_read_ignored), /* where it is computed */
    EL_FIELD("cache_control", 0, el_read_ignored), /* prefixes are kept anyway, like */
    EL_FIELD("context_management", 0, el_read_ignored),
    EL_FIELD("output_config", 0, el_read_ignored), /* how much effort */
    EL_FIELD("container", 0, el_read_unsupported),
    EL_FIELD("mcp_servers", 0, el_read_unsupported),
};

static bool check_anthropic(el_api_parse *p) {
  if (p->out->n != 1) return el_api_fail(p->error, 400, "unsupported_value", "n", "n: a message is one answer.");
  return el_openai_check_chat(p);
}

static bool check_anthropic_count(el_api_parse *p) {
  if (!(p->given & EL_PRESET_MAX_TOKENS))
    return el_api_fail(p->error, 400, "missing_required_parameter", "max_tokens", "max_tokens: Field required");
  return check_anthropic(p);
}

static bool write_anthropic_count(el_api_parse *p, el_buf *out) {
  return el_buf_printf(out, "{\"input_tokens\":%zu}", p->out->prompts->n) || el_api_no_memory(p);
}

const el_api el_api_messages = {.name = "message",
                                .id_prefix = "msg_",
                                .fields = FIELDS,
                                .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                .shared = EL_AT_CHAT,
                                .defaults = el_openai_chat_defaults,
                                .prepare = el_anthropic_prepare,
                                .check = check_anthropic_count,
                                .read_prompts = el_api_messages_read,
                                .writer = &el_anthropic_writer,
                                .write_error = el_anthropic_write_error};

const el_api el_api_count_tokens = {.name = "count",
                                    .id_prefix = "msg_",
                                    .fields = FIELDS,
                                    .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                    .shared = EL_AT_CHAT,
                                    .defaults = el_openai_chat_defaults,
                                    .prepare = el_anthropic_prepare,
                                    .check = check_anthropic,
                                    .read_prompts = el_api_messages_read,
                                    .answer = write_anthropic_count,
                                    .writer = &el_anthropic_writer,
                                    .write_error = el_anthropic_write_error};

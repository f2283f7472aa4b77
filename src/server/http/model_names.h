/* Which models there are for a caller, by the names that requests give. */
#ifndef EL_SERVER_MODEL_NAMES_H
#define EL_SERVER_MODEL_NAMES_H

#include "server/http/state.h"

/* Whether this name asks for the router's choice: it is "auto", and nothing that the key allows is called that. */
bool el_models_is_auto(el_server *s, const el_key *key, const char *name);
/* Whether it is the base's name, or an alias of it that is no adapter's. */
bool el_models_is_base(el_server *s, const char *name);

/* Whether the key may name what has this name or alias, which is there. */
bool el_models_allows(el_server *s, const el_key *key, const char *name);
/* Whether it may ask for this name: by the adapter that it leads to, and where it leads to none, by itself. */
bool el_models_may_ask(el_server *s, const el_key *key, const char *name);

#endif

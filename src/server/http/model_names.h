/* Which models exist for a caller, by the names that requests give. */
#ifndef EL_SERVER_MODEL_NAMES_H
#define EL_SERVER_MODEL_NAMES_H

#include "server/http/state.h"

/* Whether this name asks for the router's decision: it is "auto", and no model that the key allows has this
 * name. */
bool el_models_is_auto(el_server *s, const el_key *key, const char *name);
/* Whether it is the base's name, or an alias of the base that no adapter has. */
bool el_models_is_base(el_server *s, const char *name);

/* Whether there is a model with this name or alias, and the key allows it. */
bool el_models_allows(el_server *s, const el_key *key, const char *name);
/* Whether the key may ask for this name: decided by the adapter that has it as a name or alias; if there is
 * none, by the name itself. */
bool el_models_may_ask(el_server *s, const el_key *key, const char *name);

#endif

/* Characters as Python's str sees them. */
#ifndef EL_TEMPLATE_UNICODE_H
#define EL_TEMPLATE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool el_char_is_space(uint32_t c);
bool el_char_is_printable(uint32_t c);
bool el_char_is_alpha(uint32_t c);
bool el_char_is_decimal(uint32_t c);
bool el_char_is_digit(uint32_t c);   /* decimals, superscripts and the like */
bool el_char_is_numeric(uint32_t c); /* digits, fractions, ... */
bool el_char_is_lower(uint32_t c);
bool el_char_is_upper(uint32_t c);
bool el_char_is_line_end(uint32_t c); /* as in splitlines */

typedef enum el_case { EL_TO_LOWER, EL_TO_UPPER, EL_TO_TITLE } el_case;
/* Converts a character; returns the number of characters that it becomes, 1 to 3. */
size_t el_char_to(el_case to, uint32_t c, uint32_t out[3]);
/* Returns the number of bytes written. */
size_t el_char_write(uint32_t c, char out[4]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_BASE_STR_H
#define PRA_BASE_STR_H

#include "pra.h"

#include <string.h>

static inline int pra__str_equal(pra_str a, pra_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Order of the bytes, as unsigned; a prefix comes before what it is a prefix of. */
static inline int pra__str_compare(pra_str a, pra_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static inline int pra__str_starts_with(pra_str s, pra_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* 1 if s is UTF-8 as Go's utf8.Valid has it: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
int pra__utf8_valid(pra_str s);

/* The code point that s, which is not empty, begins with, and its bytes in *size; U+FFFD and 1
 * where that is none, as Go has it. */
uint32_t pra__utf8_decode(pra_str s, size_t *size);
/* Writes a code point, at most 4 bytes. Returns their number. */
size_t pra__utf8_encode(char *dst, uint32_t c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A table of different strings of one base buffer, in columns of the handle that encodes them: what
 * it takes is within the handle's budget and is kept for the next time. */
#ifndef PRA_MESSAGE_STRINGS_H
#define PRA_MESSAGE_STRINGS_H

#include "message/columns.h"

struct pra__strings {
    struct pra__columns *c; /* the strings are PRA__COL_STRINGS, number 0 is the empty one */
    const char *base;
    size_t slots; /* in use, a power of two */
};

enum { PRA__NO_STRING = 0xffffffff };

/* Empties the table but for the empty string. Returns PRA_OK, PRA_ERR_MEMORY_BUDGET or
 * PRA_ERR_NOMEM, as the next one. */
int pra__strings_begin(struct pra__strings *t, struct pra__columns *c, const char *base);

/* The index of a string, which is added if it is not there. */
int pra__strings_add(struct pra__strings *t, pra_span span, uint32_t *out);

/* The index of a string, or PRA__NO_STRING. */
uint32_t pra__strings_find(const struct pra__strings *t, pra_span span);

static inline struct pra__string *pra__strings_at(const struct pra__strings *t, uint32_t index)
{
    return PRA__COLUMN(struct pra__string, t->c, PRA__COL_STRINGS) + index;
}

static inline size_t pra__strings_count(const struct pra__strings *t)
{
    return t->c->col[PRA__COL_STRINGS].len;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing. A slot holds the hash above the index + 1, 0 where it is
 * empty; the table doubles when it is half full. */
#include "message/strings.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FIRST_SLOTS = 256 };

/* The seed differs from process to process, so that nobody can send strings that all meet in one
 * slot; what is encoded does not depend on it. */
static uint32_t hash_of(const struct pra__strings *t, pra_span span)
{
    return (uint32_t)XXH3_64bits_withSeed(t->base + span.off, span.len, (uintptr_t)t->c);
}

static uint64_t *slots_of(const struct pra__strings *t)
{
    return PRA__COLUMN(uint64_t, t->c, PRA__COL_STRING_SLOTS);
}

static void occupy(struct pra__strings *t, uint32_t hash, size_t index)
{
    uint64_t *slots = slots_of(t);
    size_t i = hash & (t->slots - 1);
    while (slots[i])
        i = (i + 1) & (t->slots - 1);
    slots[i] = (uint64_t)hash << 32 | (index + 1);
}

/* Makes room for count slots and puts every string in its place. */
static int spread(struct pra__strings *t, size_t count)
{
    int rc = pra__columns_reserve(t->c, PRA__COL_STRING_SLOTS, PRA__COL_STRING_SLOTS, count);
    if (rc)
        return rc;
    memset(slots_of(t), 0, count * sizeof(uint64_t));
    t->slots = count;
    for (size_t i = 1; i < pra__strings_count(t); i++)
        occupy(t, pra__strings_at(t, (uint32_t)i)->hash, i);
    return PRA_OK;
}

static int append(struct pra__strings *t, pra_span span, uint32_t hash)
{
    int rc = pra__columns_room(t->c, PRA__COL_STRINGS, 1);
    if (rc == PRA_OK)
        *pra__strings_at(t, (uint32_t)t->c->col[PRA__COL_STRINGS].len++) =
            (struct pra__string){.span = span, .hash = hash};
    return rc;
}

int pra__strings_begin(struct pra__strings *t, struct pra__columns *c, const char *base)
{
    *t = (struct pra__strings){.c = c, .base = base};
    c->col[PRA__COL_STRINGS].len = 0;
    int rc = spread(t, FIRST_SLOTS);
    return rc ? rc : append(t, (pra_span){0, 0}, 0);
}

static uint32_t find(const struct pra__strings *t, pra_span span, uint32_t hash)
{
    const uint64_t *slots = slots_of(t);
    for (size_t i = hash & (t->slots - 1); slots[i]; i = (i + 1) & (t->slots - 1)) {
        if (slots[i] >> 32 != hash)
            continue;
        const uint32_t index = (uint32_t)slots[i] - 1;
        const pra_span other = pra__strings_at(t, index)->span;
        if (other.len == span.len && memcmp(t->base + other.off, t->base + span.off, span.len) == 0)
            return index;
    }
    return PRA__NO_STRING;
}

uint32_t pra__strings_find(const struct pra__strings *t, pra_span span)
{
    return span.len ? find(t, span, hash_of(t, span)) : 0;
}

int pra__strings_add(struct pra__strings *t, pra_span span, uint32_t *out)
{
    *out = 0;
    if (span.len == 0)
        return PRA_OK;
    const uint32_t hash = hash_of(t, span);
    *out = find(t, span, hash);
    if (*out != PRA__NO_STRING)
        return PRA_OK;
    *out = (uint32_t)pra__strings_count(t);
    int rc = append(t, span, hash);
    if (rc == PRA_OK && pra__strings_count(t) > t->slots / 2)
        return spread(t, t->slots * 2);
    if (rc == PRA_OK)
        occupy(t, hash, *out);
    return rc;
}

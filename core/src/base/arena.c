/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "base/alloc.h"

enum { FIRST_CHUNK = 4096, MAX_CHUNK = 1 << 20 };

struct pra__chunk {
    struct pra__chunk *next;
    size_t size; /* of data */
    alignas(16) char data[];
};

void pra__arena_init(pra_arena *arena, const pra_alloc *alloc, size_t max_bytes)
{
    *arena = (pra_arena){.alloc = pra__alloc_copy(alloc), .max_bytes = max_bytes};
}

void pra__arena_fini(pra_arena *arena)
{
    for (struct pra__chunk *chunk = arena->first, *next; chunk; chunk = next) {
        next = chunk->next;
        pra__free(&arena->alloc, chunk, sizeof(*chunk) + chunk->size);
    }
    arena->first = arena->current = NULL;
    arena->used = arena->current_used = 0;
}

int pra_arena_new(const pra_alloc *alloc, size_t max_bytes, pra_arena **out)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_arena *arena = pra__malloc(&a, sizeof(*arena));
    if (!arena)
        return PRA_ERR_NOMEM;
    pra__arena_init(arena, &a, max_bytes);
    *out = arena;
    return PRA_OK;
}

void pra_arena_free(pra_arena *arena)
{
    if (!arena)
        return;
    pra_alloc alloc = arena->alloc;
    pra__arena_fini(arena);
    pra__free(&alloc, arena, sizeof(*arena));
}

/* Takes what fits from the current chunk, else NULL. */
static void *take(pra_arena *arena, size_t size, size_t align)
{
    if (!arena->current)
        return NULL;
    size_t at = (arena->current_used + align - 1) & ~(align - 1);
    if (at > arena->current->size || size > arena->current->size - at)
        return NULL;
    arena->current_used = at + size;
    arena->used += size;
    return arena->current->data + at;
}

/* Makes a chunk with room for size bytes the current one: a spare one, or a new one before the
 * spares. */
static int next_chunk(pra_arena *arena, size_t size)
{
    struct pra__chunk **link = arena->current ? &arena->current->next : &arena->first;
    if (!*link || (*link)->size < size) {
        size_t want = arena->current ? arena->current->size * 2 : FIRST_CHUNK;
        if (want > MAX_CHUNK)
            want = MAX_CHUNK;
        if (want < size)
            want = size;
        struct pra__chunk *chunk = pra__malloc(&arena->alloc, sizeof(*chunk) + want);
        if (!chunk)
            return PRA_ERR_NOMEM;
        chunk->size = want;
        chunk->next = *link;
        *link = chunk;
    }
    arena->current = *link;
    arena->current_used = 0;
    return PRA_OK;
}

void *pra_arena_alloc(pra_arena *arena, size_t size, size_t align)
{
    if (!arena || align == 0 || align > 16 || (align & (align - 1)))
        return NULL;
    if (size == 0)
        size = 1;
    if (size > SIZE_MAX / 4 || (arena->max_bytes && size > arena->max_bytes - arena->used))
        return NULL;
    void *ptr = take(arena, size, align);
    if (!ptr && next_chunk(arena, size) == PRA_OK)
        ptr = take(arena, size, align);
    return ptr;
}

int pra__arena_str(pra_arena *arena, pra_str s, pra_str *out)
{
    char *copy = NULL;
    if (s.len) {
        copy = pra_arena_alloc(arena, s.len, 1);
        if (!copy)
            return PRA_ERR_NOMEM;
        memcpy(copy, s.ptr, s.len);
    }
    *out = (pra_str){copy, s.len};
    return PRA_OK;
}

size_t pra_arena_used(const pra_arena *arena)
{
    return arena->used;
}

void pra_arena_reset(pra_arena *arena)
{
    arena->used = 0;
    arena->current = NULL;
    arena->current_used = 0;
}

size_t pra__arena_held(const pra_arena *arena)
{
    size_t held = 0;
    for (const struct pra__chunk *chunk = arena->first; chunk; chunk = chunk->next)
        held += sizeof(*chunk) + chunk->size;
    return held;
}

void pra__arena_trim(pra_arena *arena, size_t retain)
{
    if (pra__arena_held(arena) > retain)
        pra__arena_fini(arena);
    else
        pra_arena_reset(arena);
}

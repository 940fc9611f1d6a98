/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_BASE_ARENA_H
#define PRA_BASE_ARENA_H

#include "pra.h"

struct pra__chunk;

struct pra_arena {
    pra_alloc alloc;
    size_t max_bytes; /* 0 = no bound */
    size_t used;
    struct pra__chunk *first;
    struct pra__chunk *current; /* the one that is being filled; those behind it are spare */
    size_t current_used;
};

/* For arenas that live inside another struct. */
void pra__arena_init(pra_arena *arena, const pra_alloc *alloc, size_t max_bytes);
void pra__arena_fini(pra_arena *arena);

/* Copies s into the arena. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__arena_str(pra_arena *arena, pra_str s, pra_str *out);

/* Bytes of memory it holds, handed out or not. */
size_t pra__arena_held(const pra_arena *arena);

/* Resets; gives the memory back if it is more than retain bytes. */
void pra__arena_trim(pra_arena *arena, size_t retain);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The regular expressions that need no regular expression engine: alternatives of literals, groups
 * of them, and literals with .* or .+ between. On everything it takes, this reader agrees with RE2
 * and Go; everything it is not sure of it leaves to them. */
#ifndef PRA_REMOTE_PATTERN_H
#define PRA_REMOTE_PATTERN_H

#include "pra.h"

struct pra__pattern {
    /* gaps NULL: the values accepted, sorted, each once. Else the literals around the wildcards:
     * count - 1 of these, and a text matches if it is literals[0] gap literals[1] … literals[count
     * - 1]; only the first and the last may be empty. */
    pra_str *literals;
    size_t count;
    const uint8_t *gaps; /* 0 is .* and 1 is .+ */
};

/* Reads a pattern that is valid UTF-8 into memory of arena, some 100 times its length at most.
 * Returns PRA_OK, PRA_DONE if it is not of this simple kind, PRA_ERR_NOMEM. */
int pra__pattern_parse(pra_str pattern, pra_arena *arena, struct pra__pattern *out);

/* 1 if a text that is valid UTF-8 matches, else 0. */
int pra__pattern_matches(const struct pra__pattern *pattern, pra_str text);

/* Sorts pointers to strings by what they point to. */
void pra__sort_strs(const pra_str **items, size_t count);

#endif

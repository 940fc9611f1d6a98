/* SPDX-License-Identifier: Apache-2.0 */
/* What a decoded matcher is made of. Decoding stores type, name and value as they came; the rules
 * that give them meaning, and the program compiled from them, belong to remote/matcher.c. */
#ifndef PRA_MESSAGE_MATCHER_H
#define PRA_MESSAGE_MATCHER_H

#include "pra.h"

/* The compiled form; defined in remote/. */
struct pra__program;

struct pra_matcher {
    int32_t type; /* PRA_MATCH_…; unknown numbers are kept here and refused when compiled */
    pra_str name;
    pra_str value;
    struct pra__program *program; /* NULL until compiled */
    /* Set together with program: frees it. Called by whoever owns the matcher. */
    void (*program_free)(struct pra__program *program);
};

#endif

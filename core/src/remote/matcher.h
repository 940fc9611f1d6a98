/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_MATCHER_H
#define PRA_REMOTE_MATCHER_H

#include "remote/program.h"

static inline int pra__matcher_is_regex(const struct pra_matcher *matcher)
{
    return matcher->type == PRA_MATCH_REGEX || matcher->type == PRA_MATCH_NOT_REGEX;
}

/* Sets matcher->program, which must be NULL. Errors of pra_matcher_new. */
int pra__matcher_compile(struct pra_matcher *matcher, const pra_alloc *alloc,
                         struct pra__compile_opts *opts, pra_error *err);
/* Gives matcher, which has none, the program of another with the same pattern. Both must then be
 * freed by one thread. */
void pra__matcher_share(struct pra_matcher *matcher, const struct pra_matcher *with);

#endif

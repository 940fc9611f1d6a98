/* SPDX-License-Identifier: Apache-2.0 */
/* Replacements as Go's regexp package expands them: $1, ${1}, $name, ${name}, $$; a $ that nothing
 * of this kind follows stands for itself, and a group that does not exist for nothing. */
#ifndef PRA_REMOTE_TEMPLATE_H
#define PRA_REMOTE_TEMPLATE_H

#include "remote/regex.h"

/* A piece of text, or a group: then text is its name, or has no pointer where it is a number. */
struct pra__template_part {
    pra_str text;
    int is_group;
    uint32_t group;
};

struct pra__template {
    struct pra__template_part *parts;
    size_t count;
    int has_names;
    size_t groups; /* one more than the highest group that is used; 0 if none is */
};

/* Reads a template that is valid UTF-8; parts are in memory of arena and point into text. Returns
 * PRA_OK, PRA_ERR_NOMEM, PRA_ERR_NOT_SUPPORTED (a name that is not ASCII, without RE2). */
int pra__template_parse(pra_str text, pra_arena *arena, struct pra__template *out);

/* Looks the names up and takes out groups from number groups on, which do not exist. regex may be
 * NULL where there are no names. Returns PRA_OK, PRA_ERR_NOMEM. */
int pra__template_resolve(struct pra__template *t, const struct pra__regex *regex, size_t groups);

/* Length of what it expands to. */
size_t pra__template_size(const struct pra__template *t, const pra_str *groups);
void pra__template_expand(const struct pra__template *t, const pra_str *groups, char *dst);

#endif

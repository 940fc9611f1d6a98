/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of relabelling, compiled, and what applies them to one set of labels after the other. */
#ifndef PRA_REMOTE_RELABEL_H
#define PRA_REMOTE_RELABEL_H

#include "base/arena.h"
#include "remote/program.h"
#include "remote/template.h"

struct pra__relabel_rule {
    int32_t action;
    pra_str *sources;
    size_t source_count;
    pra_str separator;
    struct pra__program *program; /* NULL where the action has no pattern */
    int whole;                    /* group 1 is all of the text, whatever program says */
    size_t groups;                /* that templates use, with number 0; 0: none */
    int remembered;               /* finding out costs more than looking up what was found */
    struct pra__template target;
    struct pra__template replacement;
    uint64_t modulus;
};

struct pra_relabel {
    pra_alloc alloc;
    pra_arena arena; /* of everything that rules point to, but for programs */
    struct pra__relabel_rule *rules;
    size_t count;
    pra_limits limits;
    size_t most_groups; /* of a rule */
};

/* Name of an action, NUL-terminated. */
const char *pra__relabel_action_cstr(int32_t action);

/* What a rule finds out about its value, or about the name of a label. */
struct pra__relabel_finding {
    int matched;
    pra_str target; /* to be set; without a pointer it is no name */
    pra_str value;
};

/* A label at work. */
struct pra__relabel_label {
    pra_str name;
    pra_str value;
    uint32_t order; /* of having been set first, from 1; 0: as it came */
};

struct pra__relabel_slot {
    uint32_t rule; /* + 1; 0: empty */
    pra_str input;
    struct pra__relabel_finding found;
};

/* Applies rules to any number of label sets, one after the other, in memory of an arena. */
struct pra__relabeller {
    const pra_relabel *relabel;
    pra_arena *arena;
    struct pra__relabel_label *labels; /* sorted by name */
    size_t count;
    size_t cap;
    int changed; /* labels are not those that came */
    uint32_t orders;
    size_t rule;   /* the one at work */
    uint64_t left; /* of max_memory_bytes, for what is made */
    pra_str *groups;
    char *joined;
    size_t joined_cap;
    struct pra__relabel_slot *slots; /* found before; NULL if nothing is remembered */
    size_t slot_mask;
    struct pra__relabel_slot *names; /* likewise, by rule and place of the label */
};

/* slots: how many findings are remembered, a power of two, or 0. Returns PRA_OK, PRA_ERR_NOMEM. */
int pra__relabeller_init(struct pra__relabeller *r, const pra_relabel *relabel, pra_arena *arena,
                         size_t slots);
/* Takes labels in, which are in base. Empty ones are passed over. Returns as pra__relabeller_apply.
 */
int pra__relabeller_load(struct pra__relabeller *r, const char *base, const pra_label_span *labels,
                         size_t count);
/* Applies all rules. Returns PRA_OK, PRA_DONE (dropped), PRA_ERR_LABEL_COUNT,
 * PRA_ERR_LABEL_NAME_LENGTH, PRA_ERR_LABEL_VALUE_LENGTH, PRA_ERR_MEMORY_BUDGET, PRA_ERR_NOMEM. */
int pra__relabeller_apply(struct pra__relabeller *r);
/* The value of a label, empty if there is none. */
pra_str pra__relabeller_get(const struct pra__relabeller *r, pra_str name);
/* Fills err for an error of the above. where: "", or what it was applied to with a colon behind. */
int pra__relabeller_explain(const struct pra__relabeller *r, int rc, const char *where,
                            pra_error *err);

#endif

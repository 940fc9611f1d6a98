/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled form of a pattern, for matchers and for the rules of relabelling. */
#ifndef PRA_REMOTE_PROGRAM_H
#define PRA_REMOTE_PROGRAM_H

#include "message/matcher.h"
#include "remote/pattern.h"
#include "remote/regex.h"

enum pra__program_kind { PRA__PROGRAM_LITERAL, PRA__PROGRAM_PATTERN, PRA__PROGRAM_REGEX };

enum { PRA__PROGRAM_MAX_PREFIX = 64 };

struct pra__program {
    enum pra__program_kind kind;
    size_t refs;
    pra_alloc alloc;
    size_t size; /* of the block that starts here */
    struct pra__pattern pattern;
    struct pra__regex *regex;
    pra_str prefix;
    char prefix_text[PRA__PROGRAM_MAX_PREFIX];
};

/* Of all matchers without a regular expression. Never written to. */
extern struct pra__program pra__program_literal;

struct pra__compile_opts {
    uint64_t max_pattern_bytes;
    uint64_t max_memory; /* of one program */
    uint64_t effort;     /* left for all programs together; see pra__regex_new */
};

/* Fills opts for a single pattern. Errors of pra__limits_resolve. */
int pra__compile_opts_init(struct pra__compile_opts *opts, const pra_limits *limits);

/* What is needed of a program. */
enum {
    PRA__PROGRAM_ANY = 0,
    PRA__PROGRAM_NO_REGEX = 1, /* PRA_DONE if the pattern is not one of pra__pattern_parse */
    PRA__PROGRAM_GROUPS = 2    /* always one with a regex, which knows its groups */
};

/* Compiles. Errors of pra_matcher_new. */
int pra__program_new(pra_str pattern, int need, const pra_alloc *alloc,
                     struct pra__compile_opts *opts, struct pra__program **out, pra_error *err);
/* NULL is allowed. */
void pra__program_free(struct pra__program *program);

/* 1 if the whole of text matches, else 0, or PRA_ERR_NOMEM. Not for literals. */
static inline int pra__program_matches(const struct pra__program *program, pra_str text)
{
    return program->kind == PRA__PROGRAM_PATTERN ? pra__pattern_matches(&program->pattern, text)
                                                 : pra__regex_matches(program->regex, text);
}

#endif

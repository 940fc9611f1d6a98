/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/matcher.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

int pra__matcher_compile(struct pra_matcher *matcher, const pra_alloc *alloc,
                         struct pra__compile_opts *opts, pra_error *err)
{
    if (matcher->type < PRA_MATCH_EQUAL || matcher->type > PRA_MATCH_NOT_REGEX)
        return pra__error(err, PRA_ERR_MATCHER, 0, "unknown matcher type %d", (int)matcher->type);
    struct pra__program *program = &pra__program_literal;
    if (pra__matcher_is_regex(matcher)) {
        int rc = pra__program_new(matcher->value, PRA__PROGRAM_ANY, alloc, opts, &program, err);
        if (rc)
            return rc;
    }
    matcher->program = program;
    matcher->program_free = pra__program_free;
    return PRA_OK;
}

void pra__matcher_share(struct pra_matcher *matcher, const struct pra_matcher *with)
{
    with->program->refs++;
    matcher->program = with->program;
    matcher->program_free = pra__program_free;
}

/* A matcher on its own, with its strings behind it. */
struct owned {
    struct pra_matcher matcher;
    pra_alloc alloc;
    size_t size;
    char text[];
};

static pra_str copy(char **dst, pra_str s)
{
    pra_str out = {*dst, s.len};
    if (s.len)
        memcpy(*dst, s.ptr, s.len);
    *dst += s.len;
    return out;
}

int pra_matcher_new(const pra_alloc *alloc, int32_t type, pra_str name, pra_str value,
                    const pra_limits *limits, pra_matcher **out, pra_error *err)
{
    struct pra__compile_opts opts;
    int rc = out ? pra__compile_opts_init(&opts, limits) : PRA_ERR_INVALID_ARG;
    if (rc)
        return pra_error_set_cstr(err, rc, pra_strerror(rc));
    pra_alloc own = pra__alloc_copy(alloc);
    size_t size = sizeof(struct owned) + name.len + value.len;
    struct owned *owned = pra__calloc(&own, size);
    if (!owned)
        return pra__nomem(err);
    char *text = owned->text;
    owned->alloc = own;
    owned->size = size;
    owned->matcher.type = type;
    owned->matcher.name = copy(&text, name);
    owned->matcher.value = copy(&text, value);
    rc = pra__matcher_compile(&owned->matcher, &own, &opts, err);
    if (rc)
        pra_matcher_free(&owned->matcher);
    else
        *out = &owned->matcher;
    return rc;
}

void pra_matcher_free(pra_matcher *matcher)
{
    if (!matcher)
        return;
    struct owned *owned = (struct owned *)matcher;
    pra_alloc alloc = owned->alloc;
    if (matcher->program)
        matcher->program_free(matcher->program);
    pra__free(&alloc, owned, owned->size);
}

int32_t pra_matcher_type(const pra_matcher *matcher)
{
    return matcher->type;
}

void pra_matcher_name(const pra_matcher *matcher, pra_str *out)
{
    *out = matcher->name;
}

void pra_matcher_value(const pra_matcher *matcher, pra_str *out)
{
    *out = matcher->value;
}

int pra_matcher_matches(const pra_matcher *matcher, pra_str value)
{
    const struct pra__program *program = matcher->program;
    if (!program)
        return PRA_ERR_STATE;
    int positive;
    if (program->kind == PRA__PROGRAM_LITERAL)
        positive = pra__str_equal(matcher->value, value);
    else
        positive = pra__program_matches(program, value);
    if (positive < 0)
        return positive;
    int negated = matcher->type == PRA_MATCH_NOT_EQUAL || matcher->type == PRA_MATCH_NOT_REGEX;
    return positive != negated;
}

size_t pra_matcher_set(const pra_matcher *matcher, const pra_str **out)
{
    const struct pra__program *program = matcher->program;
    if (!program || program->kind == PRA__PROGRAM_REGEX || program->pattern.gaps)
        return 0;
    int literal = program->kind == PRA__PROGRAM_LITERAL;
    *out = literal ? &matcher->value : program->pattern.literals;
    return literal ? 1 : program->pattern.count;
}

int pra_matcher_prefix(const pra_matcher *matcher, pra_str *out)
{
    const struct pra__program *program = matcher->program;
    if (!program)
        return 0;
    pra_str prefix = program->kind == PRA__PROGRAM_LITERAL ? matcher->value : program->prefix;
    if (prefix.len == 0)
        return 0;
    *out = prefix;
    return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/matcher.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"
#include "remote/pattern.h"
#include "remote/regex.h"

enum kind { KIND_LITERAL, KIND_PATTERN, KIND_REGEX };

enum { MAX_PREFIX = 64 };

/* What one regular expression may cost while it is compiled; see pra__regex_new. */
#define PATTERN_EFFORT (UINT64_C(128) << 20)

struct pra__program {
    enum kind kind;
    size_t refs;
    pra_alloc alloc;
    size_t size; /* of the block that starts here */
    struct pra__pattern pattern;
    struct pra__regex *regex;
    pra_str prefix;
    char prefix_text[MAX_PREFIX];
};

/* Of all matchers without a regular expression. Never written to. */
static struct pra__program literal_program = {.kind = KIND_LITERAL};

static void program_free(struct pra__program *program)
{
    if (program->kind == KIND_LITERAL || --program->refs > 0)
        return;
    pra__regex_free(program->regex);
    pra__free(&program->alloc, program, program->size);
}

static struct pra__program *program_new(const pra_alloc *alloc, enum kind kind, size_t extra)
{
    size_t size = sizeof(struct pra__program) + extra;
    struct pra__program *program = pra__calloc(alloc, size);
    if (program) {
        program->kind = kind;
        program->refs = 1;
        program->alloc = *alloc;
        program->size = size;
    }
    return program;
}

static pra_str common_prefix(const struct pra__pattern *pattern)
{
    pra_str prefix = pattern->literals[0];
    if (!pattern->gaps) {
        pra_str last = pattern->literals[pattern->count - 1];
        size_t len = 0;
        while (len < prefix.len && len < last.len && prefix.ptr[len] == last.ptr[len])
            len++;
        prefix.len = len;
        while (!pra__utf8_valid(prefix))
            prefix.len--;
    }
    return prefix;
}

/* Copies a pattern out of the arena it was read into: one block for all of it. */
static int keep_pattern(const struct pra__pattern *from, const pra_alloc *alloc,
                        uint64_t max_memory, struct pra__program **out, pra_error *err)
{
    size_t gaps = from->gaps ? from->count - 1 : 0;
    size_t extra = from->count * sizeof(pra_str) + gaps;
    for (size_t i = 0; i < from->count; i++)
        extra += from->literals[i].len;
    if (extra > max_memory)
        return pra_error_set_cstr(err, PRA_ERR_PATTERN_TOO_COSTLY,
                                  "the alternatives of a regular expression take more than "
                                  "max_pattern_memory, or than their share of max_memory_bytes "
                                  "(--limit.pattern-memory, --limit.request-memory)");
    struct pra__program *program = program_new(alloc, KIND_PATTERN, extra);
    if (!program)
        return pra__nomem(err);
    pra_str *literals = (pra_str *)(program + 1);
    char *text = (char *)(literals + from->count);
    for (size_t i = 0; i < from->count; i++) {
        size_t len = from->literals[i].len;
        if (len)
            memcpy(text, from->literals[i].ptr, len);
        literals[i] = (pra_str){text, len};
        text += len;
    }
    if (gaps)
        memcpy(text, from->gaps, gaps);
    program->pattern = (struct pra__pattern){literals, from->count, gaps ? (uint8_t *)text : NULL};
    program->prefix = common_prefix(&program->pattern);
    *out = program;
    return PRA_OK;
}

static int compile_regex(pra_str value, const pra_alloc *alloc, struct pra__compile_opts *opts,
                         struct pra__program **out, pra_error *err)
{
    struct pra__program *program = program_new(alloc, KIND_REGEX, 0);
    if (!program)
        return pra__nomem(err);
    uint64_t share = opts->effort < PATTERN_EFFORT ? opts->effort : PATTERN_EFFORT;
    uint64_t left = share;
    int rc = pra__regex_new(value, opts->max_memory, &left, &program->regex, err);
    opts->effort -= share - left;
    if (rc) {
        program_free(program);
        return rc;
    }
    program->prefix.ptr = program->prefix_text;
    program->prefix.len = pra__regex_prefix(program->regex, program->prefix_text, MAX_PREFIX);
    *out = program;
    return PRA_OK;
}

static int compile_pattern(pra_str value, const pra_alloc *alloc, struct pra__compile_opts *opts,
                           struct pra__program **out, pra_error *err)
{
    if (value.len > opts->max_pattern_bytes)
        return pra__error(
            err, PRA_ERR_PATTERN_TOO_LONG, 0,
            "regular expression of %zu bytes is over max_pattern_bytes (%llu; raise it with "
            "--limit.pattern-length)",
            value.len, (unsigned long long)opts->max_pattern_bytes);
    if (!pra__utf8_valid(value))
        return pra_error_set_cstr(err, PRA_ERR_MATCHER,
                                  "invalid regular expression: invalid UTF-8");
    pra_arena arena;
    struct pra__pattern pattern;
    pra__arena_init(&arena, alloc, 0);
    int rc = pra__pattern_parse(value, &arena, &pattern);
    if (rc == PRA_OK)
        rc = keep_pattern(&pattern, alloc, opts->max_memory, out, err);
    else if (rc == PRA_ERR_NOMEM)
        rc = pra__nomem(err);
    pra__arena_fini(&arena);
    return rc == PRA_DONE ? compile_regex(value, alloc, opts, out, err) : rc;
}

int pra__matcher_compile(struct pra_matcher *matcher, const pra_alloc *alloc,
                         struct pra__compile_opts *opts, pra_error *err)
{
    if (matcher->type < PRA_MATCH_EQUAL || matcher->type > PRA_MATCH_NOT_REGEX)
        return pra__error(err, PRA_ERR_MATCHER, 0, "unknown matcher type %d", (int)matcher->type);
    struct pra__program *program = &literal_program;
    if (pra__matcher_is_regex(matcher)) {
        int rc = compile_pattern(matcher->value, alloc, opts, &program, err);
        if (rc)
            return rc;
    }
    matcher->program = program;
    matcher->program_free = program_free;
    return PRA_OK;
}

void pra__matcher_share(struct pra_matcher *matcher, const struct pra_matcher *with)
{
    with->program->refs++;
    matcher->program = with->program;
    matcher->program_free = program_free;
}

int pra__compile_opts_init(struct pra__compile_opts *opts, const pra_limits *limits)
{
    pra_limits all;
    int rc = pra__limits_resolve(limits, &all);
    if (rc)
        return rc;
    *opts =
        (struct pra__compile_opts){all.max_pattern_bytes, all.max_pattern_memory, PATTERN_EFFORT};
    return PRA_OK;
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
    if (program->kind == KIND_LITERAL)
        positive = pra__str_equal(matcher->value, value);
    else if (program->kind == KIND_PATTERN)
        positive = pra__pattern_matches(&program->pattern, value);
    else
        positive = pra__regex_matches(program->regex, value);
    if (positive < 0)
        return positive;
    int negated = matcher->type == PRA_MATCH_NOT_EQUAL || matcher->type == PRA_MATCH_NOT_REGEX;
    return positive != negated;
}

size_t pra_matcher_set(const pra_matcher *matcher, const pra_str **out)
{
    const struct pra__program *program = matcher->program;
    if (!program || program->kind == KIND_REGEX || program->pattern.gaps)
        return 0;
    int literal = program->kind == KIND_LITERAL;
    *out = literal ? &matcher->value : program->pattern.literals;
    return literal ? 1 : program->pattern.count;
}

int pra_matcher_prefix(const pra_matcher *matcher, pra_str *out)
{
    const struct pra__program *program = matcher->program;
    if (!program)
        return 0;
    pra_str prefix = program->kind == KIND_LITERAL ? matcher->value : program->prefix;
    if (prefix.len == 0)
        return 0;
    *out = prefix;
    return 1;
}

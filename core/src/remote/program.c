/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/program.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"

/* What one regular expression may cost while it is compiled; see pra__regex_new. */
#define PATTERN_EFFORT (UINT64_C(128) << 20)

struct pra__program pra__program_literal = {.kind = PRA__PROGRAM_LITERAL};

void pra__program_free(struct pra__program *program)
{
    if (!program || program->kind == PRA__PROGRAM_LITERAL || --program->refs > 0)
        return;
    pra__regex_free(program->regex);
    pra__free(&program->alloc, program, program->size);
}

static struct pra__program *allocate(const pra_alloc *alloc, enum pra__program_kind kind,
                                     size_t extra)
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
    struct pra__program *program = allocate(alloc, PRA__PROGRAM_PATTERN, extra);
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
    struct pra__program *program = allocate(alloc, PRA__PROGRAM_REGEX, 0);
    if (!program)
        return pra__nomem(err);
    uint64_t share = opts->effort < PATTERN_EFFORT ? opts->effort : PATTERN_EFFORT;
    uint64_t left = share;
    int rc = pra__regex_new(value, opts->max_memory, &left, &program->regex, err);
    opts->effort -= share - left;
    if (rc) {
        pra__program_free(program);
        return rc;
    }
    program->prefix.ptr = program->prefix_text;
    program->prefix.len =
        pra__regex_prefix(program->regex, program->prefix_text, PRA__PROGRAM_MAX_PREFIX);
    *out = program;
    return PRA_OK;
}

int pra__program_new(pra_str pattern, int need, const pra_alloc *alloc,
                     struct pra__compile_opts *opts, struct pra__program **out, pra_error *err)
{
    if (pattern.len > opts->max_pattern_bytes)
        return pra__error(
            err, PRA_ERR_PATTERN_TOO_LONG, 0,
            "regular expression of %zu bytes is over max_pattern_bytes (%llu; raise it with "
            "--limit.pattern-length)",
            pattern.len, (unsigned long long)opts->max_pattern_bytes);
    if (!pra__utf8_valid(pattern))
        return pra_error_set_cstr(err, PRA_ERR_MATCHER,
                                  "invalid regular expression: invalid UTF-8");
    if (need == PRA__PROGRAM_GROUPS)
        return compile_regex(pattern, alloc, opts, out, err);
    pra_arena arena;
    struct pra__pattern simple;
    pra__arena_init(&arena, alloc, 0);
    int rc = pra__pattern_parse(pattern, &arena, &simple);
    if (rc == PRA_OK)
        rc = keep_pattern(&simple, alloc, opts->max_memory, out, err);
    else if (rc == PRA_ERR_NOMEM)
        rc = pra__nomem(err);
    pra__arena_fini(&arena);
    return rc == PRA_DONE && need == PRA__PROGRAM_ANY
               ? compile_regex(pattern, alloc, opts, out, err)
               : rc;
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

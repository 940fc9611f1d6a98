/* SPDX-License-Identifier: Apache-2.0 */
/* Input: a pattern, a newline, a value. Whatever is read without RE2 means what it means to RE2,
 * and a matcher says nothing of its values that is not so. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/str.h"
#include "pra.h"
#include "remote/pattern.h"
#include "remote/regex.h"

static void check(int holds)
{
    if (!holds)
        abort();
}

static void compare_with_re2(pra_str pattern, pra_str value)
{
    struct pra__pattern simple;
    struct pra__regex *regex = NULL;
    uint64_t effort = UINT64_MAX;
    pra_arena *arena;
    check(pra_arena_new(NULL, 200 * pattern.len + 65536, &arena) == PRA_OK);
    int rc = pra__pattern_parse(pattern, arena, &simple);
    check(rc == PRA_OK || rc == PRA_DONE);
    if (rc == PRA_OK && pattern.len < 4096) {
        rc = pra__regex_new(pattern, 64 << 20, &effort, &regex, NULL);
        check(rc == PRA_OK || rc == PRA_ERR_NOT_SUPPORTED);
        if (rc == PRA_OK)
            check(pra__pattern_matches(&simple, value) == pra__regex_matches(regex, value));
    }
    pra__regex_free(regex);
    pra_arena_free(arena);
}

static void check_push_down(const pra_matcher *matcher, pra_str value)
{
    const pra_str *set;
    pra_str prefix;
    int matches = pra_matcher_matches(matcher, value);
    check(matches == 0 || matches == 1);
    size_t count = pra_matcher_set(matcher, &set);
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        found |= pra__str_equal(set[i], value);
        check(pra_matcher_matches(matcher, set[i]) == 1);
        check(i == 0 || pra__str_compare(set[i - 1], set[i]) < 0);
    }
    check(count == 0 || found == matches);
    if (pra_matcher_prefix(matcher, &prefix))
        check(prefix.len > 0 && (!matches || pra__str_starts_with(value, prefix)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    pra_str pattern = {(const char *)data, len};
    pra_str value = {(const char *)data + len + 1, end ? size - len - 1 : 0};
    pra_matcher *matcher = NULL;
    pra_error err = {0};
    int rc =
        pra_matcher_new(NULL, PRA_MATCH_REGEX, (pra_str){"n", 1}, pattern, NULL, &matcher, &err);
    check(rc == err.code);
    if (rc)
        check(rc == PRA_ERR_MATCHER || rc == PRA_ERR_PATTERN_TOO_LONG ||
              rc == PRA_ERR_PATTERN_TOO_COSTLY || rc == PRA_ERR_NOT_SUPPORTED);
    if (!pra__utf8_valid(pattern))
        check(rc != PRA_OK);
    else if (end && pra__utf8_valid(value)) {
        compare_with_re2(pattern, value);
        if (!rc)
            check_push_down(matcher, value);
    }
    pra_matcher_free(matcher);
    return 0;
}

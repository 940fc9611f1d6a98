/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions as Prometheus has them: Go's syntax, anchored at both ends, dot matches
 * newline, `$` is the end of the text only. The one door to RE2.
 *
 * Where RE2 and Go differ: `(?<name>x)` is rewritten to `(?P<name>x)`; `\C` is refused, as Go does;
 * a text that is not UTF-8 matches nothing here, while Go lets `.` match a bad byte (such label
 * values are refused when they are written [W-32]); two groups may have the same
 * name, and names letters of any script; `\p{greek}` must be written `\p{Greek}`; the tables
 * of Unicode classes are those of the RE2 in use. */
#ifndef PRA_REMOTE_REGEX_H
#define PRA_REMOTE_REGEX_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pra__regex;

/* Compiles a pattern that is valid UTF-8. max_memory bounds what it holds, its caches while
 * matching included. While it compiles, RE2 takes more than that: the estimate of it, in bytes, is
 * taken from *effort, and the pattern refused when that is not enough. RE2's memory comes from the
 * C++ heap. Returns 0 (free with pra__regex_free), PRA_ERR_MATCHER, PRA_ERR_PATTERN_TOO_COSTLY,
 * PRA_ERR_NOT_SUPPORTED (built without RE2), PRA_ERR_NOMEM. */
int pra__regex_new(pra_str pattern, uint64_t max_memory, uint64_t *effort, struct pra__regex **out,
                   pra_error *err);
/* NULL is allowed. */
void pra__regex_free(struct pra__regex *regex);
/* 1 if the whole of text matches, else 0, or PRA_ERR_NOMEM. From any number of threads. */
int pra__regex_matches(const struct pra__regex *regex, pra_str text);
/* Writes a prefix, in whole characters, of every text that matches. Returns its length, 0 if none
 * is known. */
size_t pra__regex_prefix(const struct pra__regex *regex, char *dst, size_t cap);

/* Number of groups, the text as a whole not counted. */
size_t pra__regex_groups(const struct pra__regex *regex);
/* The number of the group with this name, 0 if there is none, or PRA_ERR_NOMEM. */
int pra__regex_group(const struct pra__regex *regex, pra_str name);
/* As pra__regex_matches; then groups[0] is the text and groups[i], i < count, what group number i
 * matched: empty where it had no part in it. count is at most pra__regex_groups + 1. */
int pra__regex_capture(const struct pra__regex *regex, pra_str text, pra_str *groups, size_t count);
/* How many bytes at the start of text, which is UTF-8, are letters, digits of any script, or _.
 * Returns 0, PRA_ERR_NOT_SUPPORTED, PRA_ERR_NOMEM. */
int pra__regex_word(pra_str text, size_t *len);

#ifdef __cplusplus
}
#endif
#endif

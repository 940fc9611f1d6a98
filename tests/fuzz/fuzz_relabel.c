/* SPDX-License-Identifier: Apache-2.0 */
/* Input: lines of rules, an empty line, lines of labels. A rule is an action and, with tabs
 * between, source labels (with commas between), regex, target label, replacement, separator,
 * modulus; what is not there is the default. A label is NAME=VALUE. What comes out is in order and
 * within limits, and is the same for a series of a request, whether it is found out or remembered.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pra.h"

enum { RULES = 12, SOURCES = 6, LABELS = 40, MOST_LABELS = 60, MOST_NAME = 300, MOST_VALUE = 500 };

static void check(int holds)
{
    if (!holds)
        abort();
}

/* The text up to end, which is taken off together with it. */
static pra_str cut(pra_str *text, char end)
{
    const char *at = text->len ? memchr(text->ptr, end, text->len) : NULL;
    const size_t len = at ? (size_t)(at - text->ptr) : text->len;
    const pra_str out = {text->ptr, len};
    const size_t taken = len + (at != NULL);
    *text = (pra_str){text->ptr + taken, text->len - taken};
    return out;
}

static void read_rule(pra_str line, pra_relabel_rule *rule, pra_str *sources)
{
    check(pra_relabel_rule_init(rule, sizeof(*rule)) == PRA_OK);
    pra_str *const fields[] = {&rule->regex, &rule->target_label, &rule->replacement,
                               &rule->separator};
    rule->action = pra_relabel_action(cut(&line, '\t'));
    rule->source_labels = sources;
    for (pra_str names = cut(&line, '\t'); names.len && rule->source_label_count < SOURCES;)
        sources[rule->source_label_count++] = cut(&names, ',');
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && line.len; i++)
        *fields[i] = cut(&line, '\t');
    for (size_t i = 0; i < line.len && i < 19; i++)
        rule->modulus = rule->modulus * 10 + (uint64_t)(line.ptr[i] & 15);
}

static size_t read_labels(pra_str text, pra_label *labels)
{
    size_t count = 0;
    while (text.len && count < LABELS) {
        pra_str line = cut(&text, '\n');
        labels[count].name = cut(&line, '=');
        labels[count].value = line;
        size_t i = 0;
        while (i < count && !pra__str_equal(labels[i].name, labels[count].name))
            i++;
        count += i == count;
    }
    return count;
}

static void check_labels(const pra_label *labels, size_t count, size_t before)
{
    check(count <= MOST_LABELS || count <= before);
    for (size_t i = 0; i < count; i++) {
        check(labels[i].value.len > 0);
        check(i == 0 || pra__str_compare(labels[i - 1].name, labels[i].name) < 0);
    }
}

static void compare(const pra_write_request *out, const pra_label *labels, size_t count)
{
    pra_columns c = {.size = sizeof(c)};
    check(pra_write_request_columns(out, &c) == PRA_OK);
    check(c.label_count == c.series_count * count);
    for (size_t i = 0; i < c.label_count; i++) {
        const pra_label_span *span = &c.labels[i];
        const pra_label *label = &labels[i % count];
        check(pra__str_equal((pra_str){c.base + span->name.off, span->name.len}, label->name) &&
              pra__str_equal((pra_str){c.base + span->value.off, span->value.len}, label->value));
    }
}

/* rc and left are what became of one set of labels; here it comes three times. */
static void in_a_request(const pra_relabel *relabel, const pra_label *labels, size_t count, int rc,
                         const pra_label *left, size_t left_count)
{
    pra_write_request *in, *out;
    uint64_t dropped = 0, gone = 3;
    check(pra_write_request_new(NULL, &in) == PRA_OK &&
          pra_write_request_new(NULL, &out) == PRA_OK);
    for (int i = 0; i < 3; i++)
        check(pra_write_request_add_series(in, labels, count) == PRA_OK);
    int all = pra_write_request_relabel(in, relabel, out, &dropped, NULL);
    for (size_t i = 0; rc == PRA_OK && i < left_count; i++)
        if (pra__str_equal(left[i].name, (pra_str){"__name__", 8}))
            gone = 0;
    if (all == PRA_OK) {
        check((rc == PRA_OK || rc == PRA_DONE) && dropped == gone);
        compare(out, left, gone ? 0 : left_count);
    } else {
        check(all == rc || all == PRA_ERR_MEMORY_BUDGET);
        compare(out, NULL, 0);
    }
    pra_write_request_free(in);
    pra_write_request_free(out);
}

static void apply(const pra_relabel *relabel, const pra_label *labels, size_t count)
{
    const pra_label *left = NULL;
    size_t left_count = 0;
    pra_arena *arena;
    pra_error err = {0};
    check(pra_arena_new(NULL, 0, &arena) == PRA_OK);
    int rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, &err);
    check(rc == PRA_OK || rc == PRA_DONE || rc == err.code);
    check(rc == PRA_OK || rc == PRA_DONE || rc == PRA_ERR_LABEL_COUNT ||
          rc == PRA_ERR_LABEL_NAME_LENGTH || rc == PRA_ERR_LABEL_VALUE_LENGTH ||
          rc == PRA_ERR_MEMORY_BUDGET);
    check_labels(left, left_count, count);
    in_a_request(relabel, labels, count, rc, left, left_count);
    pra_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const pra_limits limits = {.size = sizeof(limits),
                               .max_labels_per_series = MOST_LABELS,
                               .max_label_name_bytes = MOST_NAME,
                               .max_label_value_bytes = MOST_VALUE,
                               .max_pattern_memory = 1 << 18,
                               .max_memory_bytes = 1 << 20};
    pra_relabel_rule rules[RULES];
    pra_str sources[RULES][SOURCES];
    pra_label labels[LABELS];
    pra_str text = {(const char *)data, size};
    pra_relabel *relabel = NULL;
    pra_error err = {0};
    size_t count = 0;
    while (text.len) {
        pra_str line = cut(&text, '\n');
        if (line.len == 0)
            break;
        if (count < RULES) {
            read_rule(line, &rules[count], sources[count]);
            count++;
        }
    }
    int rc = pra_relabel_new(NULL, rules, count, &limits, &relabel, &err);
    check(rc == err.code);
    check(rc == PRA_OK || strstr(err.message, "relabel rule "));
    if (rc == PRA_OK)
        apply(relabel, labels, read_labels(text, labels));
    pra_relabel_free(relabel);
    return 0;
}

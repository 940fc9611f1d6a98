/* SPDX-License-Identifier: Apache-2.0 */
/* Flags in Prometheus' style: --name=value or --name value. */
#ifndef PRA_CLI_FLAGS_H
#define PRA_CLI_FLAGS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CLI_LIST_MAX = 16 };

typedef struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
} cli_list;

enum cli_kind {
    CLI_TEXT,     /* const char * */
    CLI_LIST,     /* cli_list; the flag can be repeated */
    CLI_SWITCH,   /* int; --name or --no-name */
    CLI_NUMBER,   /* uint64_t: 50, 5e7 */
    CLI_SIZE,     /* uint64_t, bytes: 512, 64KiB, 32MiB, 1GiB */
    CLI_DURATION, /* uint64_t, milliseconds: 500ms, 15s, 5m, 2h, 30d, 1w, 1y, 1h30m; 0 */
};

typedef struct cli_flag {
    const char *name; /* without dashes */
    enum cli_kind kind;
    void *value;
    const char *preset; /* the default as one would type it; NULL = none */
    const char *help;   /* NULL starts a section of the table, headed by name */
} cli_flag;

typedef struct cli_usage {
    const char *synopsis; /* "pra serve [FLAGS]" */
    const char *about;
    const cli_flag *flags;
    size_t flag_count;
    size_t max_operands; /* words that are not flags */
} cli_usage;

enum { CLI_RUN = 0, CLI_HELP = 1, CLI_WRONG = 2 };

/* Sets every flag's value, first from its preset. Operands (pointers into argv) go to operands,
 * which may be NULL if max_operands is 0. Returns CLI_RUN; CLI_HELP when --help was there and has
 * been printed on stdout; CLI_WRONG when something is wrong and has been said on stderr. */
int cli_parse(const cli_usage *usage, int argc, char **argv, cli_list *operands);

void cli_help(const cli_usage *usage, FILE *to);

/* Value parsers: 1, or 0 if text is not of that form or too large. */
int cli_parse_number(const char *text, uint64_t *out);
int cli_parse_size(const char *text, uint64_t *out);
int cli_parse_duration(const char *text, uint64_t *out);

/* The name nearest to text if it is near enough to be a typing error, else NULL. */
const char *cli_nearest(const char *text, const char *const *names, size_t count);

#endif

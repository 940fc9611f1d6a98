/* SPDX-License-Identifier: Apache-2.0 */
/* The program pra: what its subcommands share. */
#ifndef PRA_CLI_H
#define PRA_CLI_H

#include "pra_server.h"
#include "pra_stores.h"

#include "flags.h"

/* ---- subcommands: arguments after the name; return the exit code */

int cli_serve(int argc, char **argv);

/* ---- log.c: lines on stderr */

typedef struct cli_log {
    int32_t level; /* the least that is written: PRA_LOG_… */
    int json;
} cli_log;

/* From the values of --log.level and --log.format. Returns 0 if either is unknown. */
int cli_log_init(cli_log *log, const char *level, const char *format);
/* As pra_log.fn; ctx is a cli_log. */
void cli_log_fields(void *ctx, int32_t level, const char *fields_cstr);
/* As pra_store_opts.log.fn; ctx is a cli_log. */
void cli_log_message(void *ctx, int32_t level, const char *message_cstr);
pra_log cli_log_sink(cli_log *log);

/* ---- storage.c */

typedef struct cli_storage_opts {
    const char *address;            /* "memory", "sqlite:PATH", "lua:SCRIPT" */
    uint64_t retention_ms;          /* 0 = everything is kept */
    uint64_t exemplar_retention_ms; /* PRA_UNLIMITED = as long as samples */
    uint32_t workers;               /* requests that can be in the storage at one time */
    uint64_t lua_max_memory;        /* of one call of a script; 0 = no cap */
    uint64_t lua_max_instructions;
    cli_log *log; /* outlives the storage */
} cli_storage_opts;

/* The script of "lua:SCRIPT". */
typedef struct pra__lua_host cli_script;

/* Opens what --storage names. As pra_store_open. *script: NULL if it is none; free it with
 * cli_script_free, before or after the storage. */
int cli_open_storage(const cli_storage_opts *opts, pra_storage *out, cli_script **script,
                     pra_error *err);
/* What SIGHUP asks for; says in the log what came of it. script may be NULL. */
void cli_script_reload(cli_script *script, cli_log *log);
void cli_script_free(cli_script *script);

#endif

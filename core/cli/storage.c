/* SPDX-License-Identifier: Apache-2.0 */
/* What --storage can name. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef PRA_HAVE_LUA
#include "lua_host.h"
#endif

/* Says what is wrong with the path, or at least which it is. */
static void explain(const char *address, pra_error *err)
{
    struct stat st;
    char folder[160], text[512];
    const char *path = strchr(address, ':'), *slash = path ? strrchr(path, '/') : NULL;
    if (!path || !*++path)
        return;
    (void)snprintf(folder, sizeof(folder), "%.*s", slash > path ? (int)(slash - path) : 1,
                   slash ? path : ".");
    if (stat(folder, &st) != 0 && errno == ENOENT)
        (void)snprintf(text, sizeof(text), "the directory of --storage does not exist: mkdir -p %s",
                       folder);
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        (void)snprintf(text, sizeof(text), "--storage=%s is a directory: name a file in it",
                       address);
    else if (access(folder, W_OK) != 0 || (access(path, R_OK | W_OK) != 0 && errno != ENOENT))
        (void)snprintf(text, sizeof(text), "no permission to read and write %s and its directory",
                       path);
    else if (!strstr(err->message, path))
        (void)snprintf(text, sizeof(text), "--storage=%s: %s", address, err->message);
    else
        return;
    (void)pra_error_set_cstr(err, err->code, text);
}

/* The path after "lua:", or NULL. */
static const char *script_of(const char *address)
{
    return strncmp(address, "lua:", 4) == 0 ? address + 4 : NULL;
}

static int open_script(const cli_storage_opts *opts, const char *path, pra_storage *out,
                       cli_script **script, pra_error *err)
{
#ifdef PRA_HAVE_LUA
    const pra__lua_host_opts host = {.path_cstr = path,
                                     .workers = opts->workers,
                                     .max_memory = opts->lua_max_memory,
                                     .max_instructions = opts->lua_max_instructions,
                                     .log = cli_log_sink(opts->log),
                                     .preload = pra__lua_preload};
    return pra__lua_host_new(&host, out, script, err);
#else
    (void)opts, (void)path, (void)out, (void)script;
    return pra_error_set_cstr(err, PRA_ERR_NOT_SUPPORTED,
                              "this program was built without Lua: build it with -DPRA_LUA=ON");
#endif
}

void cli_script_reload(cli_script *script, cli_log *log)
{
#ifdef PRA_HAVE_LUA
    if (script) {
        (void)pra__lua_host_reload(script);
        return;
    }
#endif
    (void)script;
    cli_log_message(log, PRA_LOG_INFO,
                    "SIGHUP: nothing to reload; web configuration and tokens are read again when "
                    "they change");
}

void cli_script_free(cli_script *script)
{
#ifdef PRA_HAVE_LUA
    pra__lua_host_free(script);
#else
    (void)script;
#endif
}

int cli_open_storage(const cli_storage_opts *opts, pra_storage *out, cli_script **script,
                     pra_error *err)
{
    const char *address = opts->address, *path = script_of(address);
    *script = NULL;
    if (path)
        return open_script(opts, path, out, script, err);
    if (strcmp(address, "memory") == 0)
        address = "memory:";
    pra_store_opts store = {.size = sizeof(store),
                            .retention_ms = opts->retention_ms,
                            .exemplar_retention_ms = opts->exemplar_retention_ms,
                            .log = {opts->log, cli_log_message}};
    int rc = pra_store_open(NULL, (pra_str){address, strlen(address)}, &store, out, err);
    if (rc)
        explain(address, err);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What --storage can name. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Says so if it is the directory of a file that is missing. */
static void explain(const char *address, pra_error *err)
{
    struct stat st;
    char folder[160], text[240];
    const char *path = strchr(address, ':'), *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || slash == path + 1)
        return;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path - 1), path + 1);
    if (stat(folder, &st) == 0 || errno != ENOENT)
        return;
    (void)snprintf(text, sizeof(text), "the directory of --storage does not exist: mkdir -p %s",
                   folder);
    (void)pra_error_set_cstr(err, err->code, text);
}

int cli_open_storage(const cli_storage_opts *opts, pra_storage *out, pra_error *err)
{
    const char *address = opts->address;
    if (strcmp(address, "memory") == 0)
        address = "memory:";
    pra_store_opts store = {.size = sizeof(store),
                            .retention_ms = opts->retention_ms,
                            .log = {opts->log, cli_log_message}};
    int rc = pra_store_open(NULL, (pra_str){address, strlen(address)}, &store, out, err);
    if (rc)
        explain(address, err);
    return rc;
}

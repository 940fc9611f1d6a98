/* SPDX-License-Identifier: Apache-2.0 */
/* The program pra: one file per subcommand. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"serve", cli_serve, "run a server that Prometheus can write to and read from"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static int help(void)
{
    (void)printf("pra %s: Prometheus remote write and remote read\n\nusage: pra COMMAND [FLAGS]\n\n"
                 "Commands:\n",
                 pra_version_cstr());
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        (void)printf("  %-10s%s\n", commands[i].name, commands[i].help);
    (void)printf("  %-10s%s\n\nFlags:\n  --version   print the version\n\n"
                 "Run `pra COMMAND --help` for the flags of a command.\n",
                 "help", "print this text, or the flags of one command: pra help serve");
    return 0;
}

static int unknown(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    const char *near = cli_nearest(name, names, COMMAND_COUNT);
    (void)fprintf(stderr, "pra: unknown command \"%s\"", name);
    if (near)
        (void)fprintf(stderr, "; did you mean \"%s\"?", near);
    (void)fprintf(stderr, "\nRun `pra help` for all commands.\n");
    return 2;
}

static int run(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc, argv);
    return unknown(name);
}

static int help_for(const char *name)
{
    char flag[] = "--help", *args[] = {flag, NULL};
    return run(name, 1, args);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return argc > 2 ? help_for(argv[2]) : help();
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        (void)printf("pra %s\n", pra_version_cstr());
        return 0;
    }
    return run(name, argc - 2, argv + 2);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * How C reports to a script: every shown function that can fail takes a trailing
 * `pra_error *err`, which the language file's argout typemap turns into its kind of error when
 * err->code is not 0.
 */
%{
/* Passes on non-negative results; puts any other into err, unless a deeper error is there. */
static int checked(int code, pra_error *err)
{
    if (code < 0 && err->code == 0) {
        (void)pra_error_set_cstr(err, code, pra_strerror(code));
    }
    return code;
}
%}

%typemap(in, numinputs = 0) pra_error *err(pra_error error)
{
    memset(&error, 0, sizeof error);
    $1 = &error;
}

/* A handle that was given up (or None, nil) is a mistake of the caller, not a crash. */
%include <exception.i>
%typemap(check) Handler *handler, struct Exchange *self, struct Server *self
{
    if (!$1) {
        SWIG_exception(SWIG_ValueError, "no handle");
    }
}

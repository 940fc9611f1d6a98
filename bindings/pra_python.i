/* SPDX-License-Identifier: Apache-2.0 */

%{
#include "thunk_python.h"

/* By way of the class below, which the package fills. */
int pra__py_limits(PyObject *mapping, pra_limits *out)
{
    PyObject *module = PyImport_ImportModule("prom_remote_api._handler");
    PyObject *limits = module ? PyObject_CallMethod(module, "_limits", "O", mapping) : NULL;
    void *made = NULL;
    int code = limits ? 0 : -1;
    if (limits && limits != Py_None) {
        code = SWIG_ConvertPtr(limits, &made, SWIGTYPE_p_Limits, 0) == SWIG_OK ? 0 : -1;
    }
    if (made) {
        *out = *(const pra_limits *)made;
    } else if (code && limits) {
        PyErr_SetString(PyExc_TypeError, "limits must be a mapping");
    }
    Py_XDECREF(limits);
    Py_XDECREF(module);
    return code;
}
%}

%init %{
    if (pra__py_init(m) < 0) {
        return NULL;
    }
%}

%typemap(argout) pra_error *err
{
    if ($1->code != 0) {
        pra__py_raise($1);
        Py_XDECREF(resultobj);
        SWIG_fail;
    }
}

%typemap(in) const pra_storage *storage(pra_storage storage)
{
    if (pra__py_storage($input, &storage) < 0) {
        SWIG_fail;
    }
    $1 = &storage;
}

%typemap(in) pra_log
{
    $1 = pra__py_log($input);
}

/* str or bytes */
%typemap(in) pra_str
{
    if (PyBytes_Check($input)) {
        $1 = (pra_str){PyBytes_AS_STRING($input), (size_t)PyBytes_GET_SIZE($input)};
    } else if (pra__py_utf8($input, &$1)) {
        SWIG_fail;
    }
}

%typemap(out) pra_str
{
    $result = pra__py_str($1);
}

%typemap(out) pra_bytes
{
    $result = $1.ptr ? PyBytes_FromStringAndSize($1.ptr, (Py_ssize_t)$1.len) : Py_NewRef(Py_None);
}

%typemap(in) (const void *data, size_t len) (Py_buffer buffer)
{
    if (PyObject_GetBuffer($input, &buffer, PyBUF_SIMPLE)) {
        SWIG_fail;
    }
    $1 = buffer.buf;
    $2 = (size_t)buffer.len;
}
%typemap(freearg) (const void *data, size_t len)
{
    if ($1) {
        PyBuffer_Release(&buffer$argnum);
    }
}

/* A list of (name, value), each bytes. */
%typemap(arginit) pra_headers "$1 = (pra_headers){NULL, 0};"
%typemap(in) pra_headers (pra_header *items)
{
    Py_ssize_t count = PyList_Check($input) ? PyList_GET_SIZE($input) : -1;
    items = count < 0 ? NULL : PyMem_Calloc((size_t)count + 1, sizeof *items);
    if (count < 0) {
        PyErr_SetString(PyExc_TypeError, "headers must be a list");
        SWIG_fail;
    }
    $1 = (pra_headers){items, (size_t)count};
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *name, *value;
        Py_ssize_t name_len, value_len;
        PyObject *pair = PyList_GET_ITEM($input, i);
        if (!PyTuple_Check(pair) ||
            !PyArg_ParseTuple(pair, "y#y#", &name, &name_len, &value, &value_len)) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_TypeError, "a header must be a pair of bytes");
            }
            SWIG_fail;
        }
        items[i] = (pra_header){{name, (size_t)name_len}, {value, (size_t)value_len}};
    }
}
%typemap(freearg) pra_headers
{
    PyMem_Free((void *)$1.items);
}

%extend Exchange {
    /* (scope, context, request or queries, sinks) of an exchange that asks for the storage. */
    PyObject *open(void) { return pra__py_open($self->exchange); }
    /* From any thread, while another one is in run() or body(): nobody waits for the answer. */
    void cancel(void) { atomic_store(&$self->cancelled, 1); }
    /* Lets go of the request and of what answers it. */
    void reset(void) { pra_exchange_reset($self->exchange); }
}

/* At every import: the module's own initialisation runs once a process. */
%inline %{
static PyObject *check_interpreter(void)
{
    return pra__py_check_interpreter();
}
%}
%pythoncode %{
check_interpreter()
%}

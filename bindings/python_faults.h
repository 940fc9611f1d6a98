/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on demand, for tests/python/test_faults.py: each call of CPython that can fail counts
 * itself, and fails when its number comes up. thunk_python.h includes this if the build option
 * PRA_PY_FAULTS says so; nothing of it is in a module for use.
 */
#ifndef PRA_PYTHON_FAULTS_H
#define PRA_PYTHON_FAULTS_H

#include <Python.h>

/* A place in our code that calls CPython. */
typedef struct pra_py_site {
    const char *name, *file, *function;
    unsigned long line, calls, failures;
} pra_py_site;

/* Whether this call is to fail. An exception is set then. */
int pra_py_fault(pra_py_site *site);
/* The same where CPython sets none. */
int pra_py_quiet_fault(pra_py_site *site);

/* Under their own names, which are about to mean something else. With PY_SSIZE_T_CLEAN these are
 * macros in older versions of CPython. */
#define PRA_PLAIN __attribute__((unused)) static
PRA_PLAIN int (*const pra_py_parse)(PyObject *, const char *, ...) = PyArg_ParseTuple;
PRA_PLAIN PyObject *(*const pra_py_build)(const char *, ...) = Py_BuildValue;
PRA_PLAIN PyObject *(*const pra_py_call)(PyObject *, const char *, ...) = PyObject_CallFunction;
PRA_PLAIN PyObject *(*const pra_py_call_method)(PyObject *, const char *, const char *,
                                                ...) = PyObject_CallMethod;
#if PY_VERSION_HEX >= 0x030d0000
typedef char *const *pra_py_names;
#else
typedef char **pra_py_names;
#endif
PRA_PLAIN int (*const pra_py_parse_named)(PyObject *, PyObject *, const char *, pra_py_names,
                                          ...) = PyArg_ParseTupleAndKeywords;
#undef PyArg_ParseTuple
#undef PyArg_ParseTupleAndKeywords
#undef Py_BuildValue
#undef PyObject_CallFunction
#undef PyObject_CallMethod
#undef PyObject_New
#undef PyObject_GC_New

#define PRA_MAY(fails, text, failure, call)                                                        \
    __extension__({                                                                                \
        static pra_py_site pra_py_here = {text, __FILE__, __func__, __LINE__, 0, 0};               \
        static pra_py_site *pra_py_listed __attribute__((used, section("pra_py_sites"))) =         \
            &pra_py_here;                                                                          \
        fails(&pra_py_here) ? (failure) : (call);                                                  \
    })
#define PRA_OBJECT(call, name) PRA_MAY(pra_py_fault, name, (PyObject *)NULL, call)
#define PRA_CODE(call, name) PRA_MAY(pra_py_fault, name, -1, call)
#define PRA_MEMORY(call, name) PRA_MAY(pra_py_quiet_fault, name, NULL, call)

#define PyArg_ParseTuple(...)                                                                      \
    PRA_MAY(pra_py_fault, "PyArg_ParseTuple", 0, pra_py_parse(__VA_ARGS__))
#define PyArg_ParseTupleAndKeywords(...)                                                           \
    PRA_MAY(pra_py_fault, "PyArg_ParseTupleAndKeywords", 0, pra_py_parse_named(__VA_ARGS__))
#define PyBytes_FromStringAndSize(p, n)                                                            \
    PRA_OBJECT(PyBytes_FromStringAndSize(p, n), "PyBytes_FromStringAndSize")
#define PyCapsule_GetPointer(o, name)                                                              \
    PRA_MAY(pra_py_fault, "PyCapsule_GetPointer", NULL, PyCapsule_GetPointer(o, name))
#define PyCapsule_New(p, name, free) PRA_OBJECT(PyCapsule_New(p, name, free), "PyCapsule_New")
#define PyDict_GetItemWithError(o, key)                                                            \
    PRA_OBJECT(PyDict_GetItemWithError(o, key), "PyDict_GetItemWithError")
#define PyDict_New() PRA_OBJECT(PyDict_New(), "PyDict_New")
#define PyDict_SetItem(o, key, v) PRA_CODE(PyDict_SetItem(o, key, v), "PyDict_SetItem")
#define PyFloat_AsDouble(o) PRA_MAY(pra_py_fault, "PyFloat_AsDouble", -1.0, PyFloat_AsDouble(o))
#define PyFloat_FromDouble(v) PRA_OBJECT(PyFloat_FromDouble(v), "PyFloat_FromDouble")
#define PyImport_ImportModule(name) PRA_OBJECT(PyImport_ImportModule(name), "PyImport_ImportModule")
#define PyIter_Next(o) PRA_OBJECT(PyIter_Next(o), "PyIter_Next")
#define PyList_Append(o, item) PRA_CODE(PyList_Append(o, item), "PyList_Append")
#define PyList_New(n) PRA_OBJECT(PyList_New(n), "PyList_New")
#define PyLong_AsLong(o) PRA_MAY(pra_py_fault, "PyLong_AsLong", -1L, PyLong_AsLong(o))
#define PyLong_AsLongLong(o) PRA_MAY(pra_py_fault, "PyLong_AsLongLong", -1LL, PyLong_AsLongLong(o))
#define PyLong_AsLongLongAndOverflow(o, out)                                                       \
    PRA_MAY(pra_py_fault, "PyLong_AsLongLongAndOverflow", (*(out) = 0, -1LL),                      \
            PyLong_AsLongLongAndOverflow(o, out))
#define PyLong_AsUnsignedLong(o)                                                                   \
    PRA_MAY(pra_py_fault, "PyLong_AsUnsignedLong", (unsigned long)-1, PyLong_AsUnsignedLong(o))
#define PyLong_AsUnsignedLongLong(o)                                                               \
    PRA_MAY(pra_py_fault, "PyLong_AsUnsignedLongLong", (unsigned long long)-1,                     \
            PyLong_AsUnsignedLongLong(o))
#define PyLong_FromLong(v) PRA_OBJECT(PyLong_FromLong(v), "PyLong_FromLong")
#define PyLong_FromLongLong(v) PRA_OBJECT(PyLong_FromLongLong(v), "PyLong_FromLongLong")
#define PyLong_FromSize_t(v) PRA_OBJECT(PyLong_FromSize_t(v), "PyLong_FromSize_t")
#define PyLong_FromUnsignedLong(v) PRA_OBJECT(PyLong_FromUnsignedLong(v), "PyLong_FromUnsignedLong")
#define PyLong_FromUnsignedLongLong(v)                                                             \
    PRA_OBJECT(PyLong_FromUnsignedLongLong(v), "PyLong_FromUnsignedLongLong")
#define PyMapping_Items(o) PRA_OBJECT(PyMapping_Items(o), "PyMapping_Items")
#define PyMem_Calloc(n, size) PRA_MEMORY(PyMem_Calloc(n, size), "PyMem_Calloc")
#define PyMem_Realloc(p, size) PRA_MEMORY(PyMem_Realloc(p, size), "PyMem_Realloc")
#define PyMemoryView_FromObject(o) PRA_OBJECT(PyMemoryView_FromObject(o), "PyMemoryView_FromObject")
#define PyModule_AddFunctions(o, list)                                                             \
    PRA_CODE(PyModule_AddFunctions(o, list), "PyModule_AddFunctions")
#define PyModule_AddType(o, type) PRA_CODE(PyModule_AddType(o, type), "PyModule_AddType")
#define PyObject_CallFunction(...) PRA_OBJECT(pra_py_call(__VA_ARGS__), "PyObject_CallFunction")
#define PyObject_CallFunctionObjArgs(...)                                                          \
    PRA_OBJECT(PyObject_CallFunctionObjArgs(__VA_ARGS__), "PyObject_CallFunctionObjArgs")
#define PyObject_CallMethod(...) PRA_OBJECT(pra_py_call_method(__VA_ARGS__), "PyObject_CallMethod")
#define PyObject_CallNoArgs(o) PRA_OBJECT(PyObject_CallNoArgs(o), "PyObject_CallNoArgs")
#define PyObject_GC_New(type, t)                                                                   \
    PRA_MAY(pra_py_fault, "PyObject_GC_New", (type *)NULL, (type *)_PyObject_GC_New(t))
#define PyObject_GenericSetAttr(o, name, v)                                                        \
    PRA_CODE(PyObject_GenericSetAttr(o, name, v), "PyObject_GenericSetAttr")
#define PyObject_GetAttr(o, name) PRA_OBJECT(PyObject_GetAttr(o, name), "PyObject_GetAttr")
#define PyObject_GetAttrString(o, name)                                                            \
    PRA_OBJECT(PyObject_GetAttrString(o, name), "PyObject_GetAttrString")
#define PyObject_GetBuffer(o, view, flags)                                                         \
    PRA_CODE(PyObject_GetBuffer(o, view, flags), "PyObject_GetBuffer")
#define PyObject_GetIter(o) PRA_OBJECT(PyObject_GetIter(o), "PyObject_GetIter")
#define PyObject_New(type, t)                                                                      \
    PRA_MAY(pra_py_fault, "PyObject_New", (type *)NULL, (type *)_PyObject_New(t))
#define PySequence_Contains(o, item) PRA_CODE(PySequence_Contains(o, item), "PySequence_Contains")
#define PySequence_Fast(o, text) PRA_OBJECT(PySequence_Fast(o, text), "PySequence_Fast")
#define PyStructSequence_New(type) PRA_OBJECT(PyStructSequence_New(type), "PyStructSequence_New")
#define PyStructSequence_NewType(desc)                                                             \
    PRA_MAY(pra_py_fault, "PyStructSequence_NewType", NULL, PyStructSequence_NewType(desc))
#define PyTuple_New(n) PRA_OBJECT(PyTuple_New(n), "PyTuple_New")
#define PyTuple_Pack(...) PRA_OBJECT(PyTuple_Pack(__VA_ARGS__), "PyTuple_Pack")
#define PyType_Ready(type) PRA_CODE(PyType_Ready(type), "PyType_Ready")
#define PyUnicode_AsUTF8(o) PRA_MAY(pra_py_fault, "PyUnicode_AsUTF8", NULL, PyUnicode_AsUTF8(o))
#define PyUnicode_AsUTF8AndSize(o, n)                                                              \
    PRA_MAY(pra_py_fault, "PyUnicode_AsUTF8AndSize", NULL, PyUnicode_AsUTF8AndSize(o, n))
#define PyUnicode_DecodeUTF8(p, n, how)                                                            \
    PRA_OBJECT(PyUnicode_DecodeUTF8(p, n, how), "PyUnicode_DecodeUTF8")
#define PyUnicode_FromFormat(...)                                                                  \
    PRA_OBJECT(PyUnicode_FromFormat(__VA_ARGS__), "PyUnicode_FromFormat")
#define PyUnicode_FromString(text) PRA_OBJECT(PyUnicode_FromString(text), "PyUnicode_FromString")
#define PyUnicode_InternFromString(text)                                                           \
    PRA_OBJECT(PyUnicode_InternFromString(text), "PyUnicode_InternFromString")
#define PyUnicode_Join(o, list) PRA_OBJECT(PyUnicode_Join(o, list), "PyUnicode_Join")
#define PyWeakref_NewRef(o, call) PRA_OBJECT(PyWeakref_NewRef(o, call), "PyWeakref_NewRef")
#define Py_BuildValue(...) PRA_OBJECT(pra_py_build(__VA_ARGS__), "Py_BuildValue")

#endif

/* The x87 instructions whose results are exact, one line per form. */
#include "x87.h"

static void run_all(const struct x87_form *forms, size_t count) {
  for (size_t i = 0; i < count; i++) run_x87_form(&forms[i]);
}
#define RUN(FORMS) run_all(FORMS, sizeof FORMS / sizeof *FORMS)

/* name, opcode, second byte, operand, values, count */
static const struct x87_form arithmetic[] = {
    {"FADD m32", 0xd8, 0x00, M_F32, ANY_VALUES, 500},         {"FADD m64", 0xdc, 0x00, M_F64, ANY_VALUES, 500},
    {"FIADD m32", 0xda, 0x00, M_I32, ANY_VALUES, 300},        {"FIADD m16", 0xde, 0x00, M_I16, ANY_VALUES, 300},
    {"FADD ST(0), ST(i)", 0xd8, 0xc0, STACK, ANY_VALUES, 1500}, {"FADD ST(i), ST(0)", 0xdc, 0xc0, STACK, ANY_VALUES, 300},
    {"FADDP ST(i), ST(0)", 0xde, 0xc0, STACK, ANY_VALUES, 300},
    {"FMUL m32", 0xd8, 0x08, M_F32, ANY_VALUES, 500},         {"FMUL m64", 0xdc, 0x08, M_F64, ANY_VALUES, 500},
    {"FIMUL m32", 0xda, 0x08, M_I32, ANY_VALUES, 300},        {"FIMUL m16", 0xde, 0x08, M_I16, ANY_VALUES, 300},
    {"FMUL ST(0), ST(i)", 0xd8, 0xc8, STACK, ANY_VALUES, 1500}, {"FMUL ST(i), ST(0)", 0xdc, 0xc8, STACK, ANY_VALUES, 300},
    {"FMULP ST(i), ST(0)", 0xde, 0xc8, STACK, ANY_VALUES, 300},
    {"FSUB m32", 0xd8, 0x20, M_F32, ANY_VALUES, 300},         {"FSUB m64", 0xdc, 0x20, M_F64, ANY_VALUES, 300},
    {"FISUB m32", 0xda, 0x20, M_I32, ANY_VALUES, 200},        {"FISUB m16", 0xde, 0x20, M_I16, ANY_VALUES, 200},
    {"FSUB ST(0), ST(i)", 0xd8, 0xe0, STACK, ANY_VALUES, 800},  {"FSUB ST(i), ST(0)", 0xdc, 0xe8, STACK, ANY_VALUES, 300},
    {"FSUBP ST(i), ST(0)", 0xde, 0xe8, STACK, ANY_VALUES, 300},
    {"FSUBR m32", 0xd8, 0x28, M_F32, ANY_VALUES, 300},        {"FSUBR m64", 0xdc, 0x28, M_F64, ANY_VALUES, 300},
    {"FISUBR m32", 0xda, 0x28, M_I32, ANY_VALUES, 200},       {"FISUBR m16", 0xde, 0x28, M_I16, ANY_VALUES, 200},
    {"FSUBR ST(0), ST(i)", 0xd8, 0xe8, STACK, ANY_VALUES, 300}, {"FSUBR ST(i), ST(0)", 0xdc, 0xe0, STACK, ANY_VALUES, 300},
    {"FSUBRP ST(i), ST(0)", 0xde, 0xe0, STACK, ANY_VALUES, 300},
    {"FDIV m32", 0xd8, 0x30, M_F32, ANY_VALUES, 400},         {"FDIV m64", 0xdc, 0x30, M_F64, ANY_VALUES, 400},
    {"FIDIV m32", 0xda, 0x30, M_I32, ANY_VALUES, 200},        {"FIDIV m16", 0xde, 0x30, M_I16, ANY_VALUES, 200},
    {"FDIV ST(0), ST(i)", 0xd8, 0xf0, STACK, ANY_VALUES, 1500}, {"FDIV ST(i), ST(0)", 0xdc, 0xf8, STACK, ANY_VALUES, 300},
    {"FDIVP ST(i), ST(0)", 0xde, 0xf8, STACK, ANY_VALUES, 300},
    {"FDIVR m32", 0xd8, 0x38, M_F32, ANY_VALUES, 400},        {"FDIVR m64", 0xdc, 0x38, M_F64, ANY_VALUES, 400},
    {"FIDIVR m32", 0xda, 0x38, M_I32, ANY_VALUES, 200},       {"FIDIVR m16", 0xde, 0x38, M_I16, ANY_VALUES, 200},
    {"FDIVR ST(0), ST(i)", 0xd8, 0xf8, STACK, ANY_VALUES, 300}, {"FDIVR ST(i), ST(0)", 0xdc, 0xf0, STACK, ANY_VALUES, 300},
    {"FDIVRP ST(i), ST(0)", 0xde, 0xf0, STACK, ANY_VALUES, 300},
    {"FSQRT", 0xd9, 0xfa, NO_OPERAND, ANY_VALUES, 1200},
};

static const struct x87_form compare[] = {
    {"FCOM m32", 0xd8, 0x10, M_F32, ANY_VALUES, 200, .keeps_codes = true},
    {"FCOM m64", 0xdc, 0x10, M_F64, ANY_VALUES, 200, .keeps_codes = true},
    {"FICOM m32", 0xda, 0x10, M_I32, ANY_VALUES, 150, .keeps_codes = true},
    {"FICOM m16", 0xde, 0x10, M_I16, ANY_VALUES, 150, .keeps_codes = true},
    {"FCOM ST(i)", 0xd8, 0xd0, STACK, ANY_VALUES, 500, .keeps_codes = true},
    {"FCOM ST(i) (DC D0)", 0xdc, 0xd0, STACK, ANY_VALUES, 60, .keeps_codes = true},
    {"FCOMP m32", 0xd8, 0x18, M_F32, ANY_VALUES, 150, .keeps_codes = true},
    {"FCOMP m64", 0xdc, 0x18, M_F64, ANY_VALUES, 150, .keeps_codes = true},
    {"FICOMP m32", 0xda, 0x18, M_I32, ANY_VALUES, 100, .keeps_codes = true},
    {"FICOMP m16", 0xde, 0x18, M_I16, ANY_VALUES, 100, .keeps_codes = true},
    {"FCOMP ST(i)", 0xd8, 0xd8, STACK, ANY_VALUES, 200, .keeps_codes = true},
    {"FCOMP ST(i) (DC D8)", 0xdc, 0xd8, STACK, ANY_VALUES, 60, .keeps_codes = true},
    {"FCOMP ST(i) (DE D0)", 0xde, 0xd0, STACK, ANY_VALUES, 60, .keeps_codes = true},
    {"FCOMPP", 0xde, 0xd9, NO_OPERAND, ANY_VALUES, 150, .keeps_codes = true},
    {"FUCOM ST(i)", 0xdd, 0xe0, STACK, ANY_VALUES, 400, .keeps_codes = true},
    {"FUCOMP ST(i)", 0xdd, 0xe8, STACK, ANY_VALUES, 150, .keeps_codes = true},
    {"FUCOMPP", 0xda, 0xe9, NO_OPERAND, ANY_VALUES, 150, .keeps_codes = true},
    {"FCOMI ST(0), ST(i)", 0xdb, 0xf0, STACK, ANY_VALUES, 400, .keeps_codes = true, .feature = "cmov"},
    {"FCOMIP ST(0), ST(i)", 0xdf, 0xf0, STACK, ANY_VALUES, 200, .keeps_codes = true, .feature = "cmov"},
    {"FUCOMI ST(0), ST(i)", 0xdb, 0xe8, STACK, ANY_VALUES, 400, .keeps_codes = true, .feature = "cmov"},
    {"FUCOMIP ST(0), ST(i)", 0xdf, 0xe8, STACK, ANY_VALUES, 200, .keeps_codes = true, .feature = "cmov"},
    {"FTST", 0xd9, 0xe4, NO_OPERAND, ANY_VALUES, 250, .keeps_codes = true},
    {"FXAM", 0xd9, 0xe5, NO_OPERAND, ANY_VALUES, 400, .keeps_codes = true},
};

static const struct x87_form move[] = {
    {"FLD m32", 0xd9, 0x00, M_F32, ANY_VALUES, 300, .pushes = 1},
    {"FLD m64", 0xdd, 0x00, M_F64, ANY_VALUES, 300, .pushes = 1},
    {"FLD m80", 0xdb, 0x28, M_F80, ANY_VALUES, 300, .pushes = 1},
    {"FLD ST(i)", 0xd9, 0xc0, STACK, ANY_VALUES, 150, .pushes = 1},
    {"FILD m16", 0xdf, 0x00, M_I16, ANY_VALUES, 120, .pushes = 1},
    {"FILD m32", 0xdb, 0x00, M_I32, ANY_VALUES, 120, .pushes = 1},
    {"FILD m64", 0xdf, 0x28, M_I64, ANY_VALUES, 150, .pushes = 1},
    {"FBLD m80", 0xdf, 0x20, M_BCD, ANY_VALUES, 300, .pushes = 1},
    {"FST m32", 0xd9, 0x10, M_OUT32, TO_F32, 500},
    {"FST m64", 0xdd, 0x10, M_OUT64, TO_F64, 500},
    {"FST ST(i)", 0xdd, 0xd0, STACK, ANY_VALUES, 100},
    {"FSTP m32", 0xd9, 0x18, M_OUT32, TO_F32, 400},
    {"FSTP m64", 0xdd, 0x18, M_OUT64, TO_F64, 400},
    {"FSTP m80", 0xdb, 0x38, M_OUT80, ANY_VALUES, 150},
    {"FSTP ST(i)", 0xdd, 0xd8, STACK, ANY_VALUES, 100},
    {"FSTP ST(i) (D9 D8)", 0xd9, 0xd8, STACK, ANY_VALUES, 40},
    {"FSTP ST(i) (DF D0)", 0xdf, 0xd0, STACK, ANY_VALUES, 40},
    {"FSTP ST(i) (DF D8)", 0xdf, 0xd8, STACK, ANY_VALUES, 40},
    {"FIST m16", 0xdf, 0x10, M_OUT16, TO_INT16, 400},
    {"FIST m32", 0xdb, 0x10, M_OUT32, TO_INT32, 400},
    {"FISTP m16", 0xdf, 0x18, M_OUT16, TO_INT16, 300},
    {"FISTP m32", 0xdb, 0x18, M_OUT32, TO_INT32, 300},
    {"FISTP m64", 0xdf, 0x38, M_OUT64, TO_INT64, 500},
    {"FISTTP m16", 0xdf, 0x08, M_OUT16, TO_INT16, 200, .feature = "pni"},
    {"FISTTP m32", 0xdb, 0x08, M_OUT32, TO_INT32, 200, .feature = "pni"},
    {"FISTTP m64", 0xdd, 0x08, M_OUT64, TO_INT64, 300, .feature = "pni"},
    {"FBSTP m80", 0xdf, 0x30, M_OUT80, TO_BCD, 500},
    {"FXCH ST(i)", 0xd9, 0xc8, STACK, ANY_VALUES, 120},
    {"FXCH ST(i) (DD C8)", 0xdd, 0xc8, STACK, ANY_VALUES, 40},
    {"FXCH ST(i) (DF C8)", 0xdf, 0xc8, STACK, ANY_VALUES, 40},
    {"FCMOVB ST(0), ST(i)", 0xda, 0xc0, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVE ST(0), ST(i)", 0xda, 0xc8, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVBE ST(0), ST(i)", 0xda, 0xd0, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVU ST(0), ST(i)", 0xda, 0xd8, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVNB ST(0), ST(i)", 0xdb, 0xc0, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVNE ST(0), ST(i)", 0xdb, 0xc8, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVNBE ST(0), ST(i)", 0xdb, 0xd0, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FCMOVNU ST(0), ST(i)", 0xdb, 0xd8, STACK, ANY_VALUES, 80, .feature = "cmov"},
    {"FLD1", 0xd9, 0xe8, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDL2T", 0xd9, 0xe9, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDL2E", 0xd9, 0xea, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDPI", 0xd9, 0xeb, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDLG2", 0xd9, 0xec, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDLN2", 0xd9, 0xed, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
    {"FLDZ", 0xd9, 0xee, NO_OPERAND, ANY_VALUES, 60, .pushes = 1},
};

static const struct x87_form functions[] = {
    {"FABS", 0xd9, 0xe1, NO_OPERAND, ANY_VALUES, 100},
    {"FCHS", 0xd9, 0xe0, NO_OPERAND, ANY_VALUES, 100},
    {"FRNDINT", 0xd9, 0xfc, NO_OPERAND, TO_INT64, 600},
    {"FSCALE", 0xd9, 0xfd, NO_OPERAND, SCALES, 700},
    {"FXTRACT", 0xd9, 0xf4, NO_OPERAND, ANY_VALUES, 400, .pushes = 1},
    {"FPREM", 0xd9, 0xf8, NO_OPERAND, REMAINDERS, 1000, .keeps_codes = true},
    {"FPREM1", 0xd9, 0xf5, NO_OPERAND, REMAINDERS, 1000, .keeps_codes = true},
};

/* C1 tells the direction of a rounding that nobody specifies; C2 says that the argument is out of range. */
static const struct x87_form transcendental[] = {
    {"F2XM1", 0xd9, 0xf0, NO_OPERAND, POWERS, 400, .undefined = STATUS_C1, .approximate = true},
    {"FYL2X", 0xd9, 0xf1, NO_OPERAND, LOGARITHMS, 400, .undefined = STATUS_C1, .approximate = true},
    {"FYL2XP1", 0xd9, 0xf9, NO_OPERAND, LOGARITHMS_NEAR_ONE, 400, .undefined = STATUS_C1, .approximate = true},
    {"FPATAN", 0xd9, 0xf3, NO_OPERAND, ANGLES, 400, .undefined = STATUS_C1, .approximate = true},
    {"FPTAN", 0xd9, 0xf2, NO_OPERAND, ANGLES, 400, 1, STATUS_C1 | STATUS_C0 | STATUS_C3, true, .approximate = true},
    {"FSIN", 0xd9, 0xfe, NO_OPERAND, ANGLES, 400, 0, STATUS_C1 | STATUS_C0 | STATUS_C3, true, .approximate = true},
    {"FCOS", 0xd9, 0xff, NO_OPERAND, ANGLES, 400, 0, STATUS_C1 | STATUS_C0 | STATUS_C3, true, .approximate = true},
    {"FSINCOS", 0xd9, 0xfb, NO_OPERAND, ANGLES, 400, 1, STATUS_C1 | STATUS_C0 | STATUS_C3, true, .approximate = true},
};

void family_x87_arithmetic(void) { family_begin("x87-arithmetic"), RUN(arithmetic); }
void family_x87_compare(void) { family_begin("x87-compare"), RUN(compare); }
void family_x87_move(void) { family_begin("x87-move"), RUN(move); }
void family_x87_functions(void) { family_begin("x87-functions"), RUN(functions); }
void family_x87_transcendental(void) { family_begin("x87-transcendental"), RUN(transcendental); }

/* Every register encoding, reserved ones included: FNINIT and the like apart, which family_x87_control has. */
void family_x87_decoding(void) {
  family_begin("x87-decoding");
  for (u32 byte = 0xd8; byte <= 0xdf; byte++) {
    char name[24] = "x87 D? C0-FF";
    name[5] = "89ABCDEF"[byte - 0xd8];
    form_begin(name, (struct form_options){0});
    for (u32 second = 0xc0; second < 0x100; second++) {
      bool transcendental_form = byte == 0xd9 && second >= 0xf0 && second != 0xf4 && second != 0xf6 && second != 0xf7 &&
                                 second != 0xfa && second != 0xfc && second != 0xfd && second != 0xf5 && second != 0xf8;
      for (int n = 0; n < 2 && !transcendental_form; n++) {
        struct vector *v = x87_begin();
        opcode(v, 1, (const u8[]){(u8)byte}), tail(v, 8, second);
        v->before.x87.tags |= n ? 0xff : 0;
        v->undefined_status = STATUS_C0 | STATUS_C2 | STATUS_C3;
        vector_end(v);
      }
    }
  }
}

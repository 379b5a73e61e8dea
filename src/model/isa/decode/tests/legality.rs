//! Which instructions this device has, and how long they are.

use super::decoded;

#[test]
fn what_this_device_lacks_is_illegal() {
    for (text, words) in ILLEGAL {
        assert_eq!(decoded(words), None, "{text}");
    }
}

const ILLEGAL: &[(&str, &[u32])] = &[
    ("v_mov_b32_dpp v0, v1 row_shl:1", &[0x7e00_02fa, 0xff01_0101]),
    ("v_mov_b32_sdwa v0, v1", &[0x7e00_02f9, 0x0006_1601]),
    ("v_mov_b32 v0, src_lds_direct", &[0x7e00_02fe]),
    ("v_rcp_f32 v0, v1", &[0x7e00_4501]),
    ("v_add_f16 v0, v1, v2", &[0x3e00_0501]),
    ("v_add_f64 v[0:1], v[2:3], v[4:5]", &[0xd280_0000, 0x0002_0902]),
    ("v_interp_p1_f32 v0, v1, attr0.x", &[0xd400_0001]),
    ("image_load v0, v0, s[0:7] dmask:0x1 unorm", &[0xf000_1100, 0x0000_0000]),
    ("exp mrt0 v0, v0, v0, v0", &[0xc400_000f, 0x0000_0000]),
    ("s_set_gpr_idx_off", &[0xbf9c_0000]),
    ("s_cbranch_join s0", &[0xbe80_2e00]),
    ("s_store_dword s0, s[2:3], 0x0", &[0xc042_0001, 0x0000_0000]),
    ("s_buffer_load_dword s0, s[4:7], 0x0", &[0xc022_0002, 0x0000_0000]),
    ("s_sethalt 1", &[0xbf8d_0001]),
    ("v_cvt_f64_i32 v[0:1], v2", &[0x7e00_0902]),
    ("ds_add_f32 v0, v1", &[0xd82a_0000, 0x0000_0100]),
    ("s_setvskip s0, s1", &[0xbf10_0100]),
];

/// Every integer instruction of the families that this device has in full, and of AMD's tests and our own kernels.
const LEGAL: &[(&str, &[u32])] = &[
    ("s_mov_b32 s0, s1", &[0xbe80_0001]),
    ("s_mov_b64 s[0:1], s[2:3]", &[0xbe80_0102]),
    ("s_cmov_b32 s0, s1", &[0xbe80_0201]),
    ("s_cmov_b64 s[0:1], s[2:3]", &[0xbe80_0302]),
    ("s_not_b32 s0, s1", &[0xbe80_0401]),
    ("s_not_b64 s[0:1], s[2:3]", &[0xbe80_0502]),
    ("s_wqm_b32 s0, s1", &[0xbe80_0601]),
    ("s_wqm_b64 s[0:1], s[2:3]", &[0xbe80_0702]),
    ("s_brev_b32 s0, s1", &[0xbe80_0801]),
    ("s_brev_b64 s[0:1], s[2:3]", &[0xbe80_0902]),
    ("s_bcnt0_i32_b32 s0, s1", &[0xbe80_0a01]),
    ("s_bcnt0_i32_b64 s0, s[2:3]", &[0xbe80_0b02]),
    ("s_bcnt1_i32_b32 s0, s1", &[0xbe80_0c01]),
    ("s_bcnt1_i32_b64 s0, s[2:3]", &[0xbe80_0d02]),
    ("s_ff0_i32_b32 s0, s1", &[0xbe80_0e01]),
    ("s_ff0_i32_b64 s0, s[2:3]", &[0xbe80_0f02]),
    ("s_ff1_i32_b32 s0, s1", &[0xbe80_1001]),
    ("s_ff1_i32_b64 s0, s[2:3]", &[0xbe80_1102]),
    ("s_flbit_i32_b32 s0, s1", &[0xbe80_1201]),
    ("s_flbit_i32_b64 s0, s[2:3]", &[0xbe80_1302]),
    ("s_flbit_i32 s0, s1", &[0xbe80_1401]),
    ("s_flbit_i32_i64 s0, s[2:3]", &[0xbe80_1502]),
    ("s_sext_i32_i8 s0, s1", &[0xbe80_1601]),
    ("s_sext_i32_i16 s0, s1", &[0xbe80_1701]),
    ("s_bitset0_b32 s0, s1", &[0xbe80_1801]),
    ("s_bitset0_b64 s[0:1], s2", &[0xbe80_1902]),
    ("s_bitset1_b32 s0, s1", &[0xbe80_1a01]),
    ("s_bitset1_b64 s[0:1], s2", &[0xbe80_1b02]),
    ("s_getpc_b64 s[0:1]", &[0xbe80_1c00]),
    ("s_setpc_b64 s[0:1]", &[0xbe80_1d00]),
    ("s_swappc_b64 s[0:1], s[2:3]", &[0xbe80_1e02]),
    ("s_and_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2002]),
    ("s_or_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2102]),
    ("s_xor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2202]),
    ("s_orn2_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2402]),
    ("s_nand_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2502]),
    ("s_nor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2602]),
    ("s_xnor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2702]),
    ("s_quadmask_b32 s0, s1", &[0xbe80_2801]),
    ("s_quadmask_b64 s[0:1], s[2:3]", &[0xbe80_2902]),
    ("s_abs_i32 s0, s1", &[0xbe80_3001]),
    ("s_min_u32 s0, s1, s2", &[0x8380_0201]),
    ("s_cselect_b64 s[0:1], s[2:3], s[4:5]", &[0x8580_0402]),
    ("s_xnor_b32 s0, s1, s2", &[0x8d00_0201]),
    ("s_nor_b64 s[0:1], s[2:3], s[4:5]", &[0x8c80_0402]),
    ("s_lshl_b64 s[0:1], s[2:3], s4", &[0x8e80_0402]),
    ("s_bfe_i64 s[0:1], s[2:3], s4", &[0x9400_0402]),
    ("s_absdiff_i32 s0, s1, s2", &[0x9500_0201]),
    ("s_cmp_lg_u64 s[0:1], s[2:3]", &[0xbf13_0200]),
    ("s_bitcmp1_b64 s[0:1], s2", &[0xbf0f_0200]),
    ("s_mulk_i32 s0, 5", &[0xb780_0005]),
    ("s_nop 3", &[0xbf80_0003]),
    ("s_endpgm", &[0xbf81_0000]),
    ("s_sleep 1", &[0xbf8e_0001]),
    ("s_barrier", &[0xbf8a_0000]),
    ("s_setprio 1", &[0xbf8f_0001]),
    ("s_sendmsg sendmsg(MSG_INTERRUPT)", &[0xbf90_0001]),
    ("s_icache_inv", &[0xbf93_0000]),
    ("s_sethalt 0", &[0xbf8d_0000]),
    ("s_load_dwordx16 s[0:15], s[20:21], 0x0", &[0xc012_000a, 0x0000_0000]),
    ("s_memrealtime s[0:1]", &[0xc094_0000, 0x0000_0000]),
    ("s_dcache_inv_vol", &[0xc088_0000, 0x0000_0000]),
    ("v_nop", &[0x7e00_0000]),
    ("v_cvt_f32_i32 v0, v1", &[0x7e00_0b01]),
    ("v_cvt_flr_i32_f32 v0, v1", &[0x7e00_1b01]),
    ("v_cvt_f32_ubyte3 v0, v1", &[0x7e00_2901]),
    ("v_rndne_f32 v0, v1", &[0x7e00_3d01]),
    ("v_ffbh_i32 v0, v1", &[0x7e00_5f01]),
    ("v_mul_hi_u32_u24 v0, v1, v2", &[0x1200_0501]),
    ("v_mac_f32 v0, v1, v2", &[0x2c00_0501]),
    ("v_madmk_f32 v0, v1, 0x11213141, v2", &[0x2e00_0501, 0x1121_3141]),
    ("v_min_i16 v0, v1, v2", &[0x6400_0501]),
    ("v_lshlrev_b16 v0, v1, v2", &[0x5400_0501]),
    ("v_cmp_t_u64 vcc, v[0:1], v[2:3]", &[0x7dde_0500]),
    ("v_cmp_f_i16 vcc, v0, v1", &[0x7d40_0300]),
    ("v_cmpx_tru_f32 vcc, v0, v1", &[0x7cbe_0300]),
    ("v_mad_i32_i24 v0, v1, v2, v3", &[0xd1c2_0000, 0x040e_0501]),
    ("v_med3_f32 v0, v1, v2, v3", &[0xd1d6_0000, 0x040e_0501]),
    ("v_mad_i16 v0, v1, v2, v3", &[0xd1ec_0000, 0x040e_0501]),
    ("v_mul_hi_i32 v0, v1, v2", &[0xd287_0000, 0x0002_0501]),
    ("v_cvt_pk_u16_u32 v0, v1, v2", &[0xd297_0000, 0x0002_0501]),
    ("v_cvt_pk_i16_i32 v0, v1, v2", &[0xd298_0000, 0x0002_0501]),
    ("v_not_b32_e64 v0, v1", &[0xd16b_0000, 0x0000_0101]),
    ("v_lshlrev_b32_e64 v0, 1, s1", &[0xd112_0000, 0x0000_0281]),
    ("v_sub_u32_e64 v0, s[0:1], v1, v2", &[0xd11a_0000, 0x0002_0501]),
    ("ds_add_u32 v0, v1", &[0xd800_0000, 0x0000_0100]),
    ("ds_sub_rtn_u64 v[0:1], v2, v[4:5]", &[0xd8c2_0000, 0x0000_0402]),
    ("ds_inc_u32 v0, v1", &[0xd806_0000, 0x0000_0100]),
    ("ds_dec_rtn_u32 v0, v1, v2", &[0xd848_0000, 0x0000_0201]),
    ("ds_min_i64 v0, v[2:3]", &[0xd88a_0000, 0x0000_0200]),
    ("ds_max_rtn_u64 v[0:1], v2, v[4:5]", &[0xd8d0_0000, 0x0000_0402]),
    ("ds_mskor_rtn_b64 v[0:1], v2, v[4:5], v[6:7]", &[0xd8d8_0000, 0x0006_0402]),
    ("ds_write_b16 v0, v1", &[0xd83e_0000, 0x0000_0100]),
    ("ds_write_b128 v0, v[4:7]", &[0xd9be_0000, 0x0000_0400]),
    ("ds_read_b96 v[4:6], v0", &[0xd9fc_0000, 0x0400_0000]),
    ("ds_read_u16 v0, v1", &[0xd878_0000, 0x0000_0001]),
    ("ds_wrxchg_rtn_b64 v[0:1], v2, v[4:5]", &[0xd8da_0000, 0x0000_0402]),
    ("ds_bpermute_b32 v0, v1, v2", &[0xd87e_0000, 0x0000_0201]),
    ("flat_load_sshort v0, v[2:3]", &[0xdc4c_0000, 0x0000_0002]),
    ("flat_load_dwordx3 v[0:2], v[4:5]", &[0xdc58_0000, 0x0000_0004]),
    ("flat_store_short v[0:1], v2", &[0xdc68_0000, 0x0000_0200]),
    ("flat_store_dwordx3 v[0:1], v[4:6]", &[0xdc78_0000, 0x0000_0400]),
    ("flat_atomic_inc v[0:1], v2", &[0xdd2c_0000, 0x0000_0200]),
    ("flat_atomic_dec_x2 v[4:5], v[0:1], v[2:3] glc", &[0xddb1_0000, 0x0400_0200]),
    ("buffer_wbinvl1", &[0xe0f8_0000, 0x0000_0000]),
];

#[test]
fn what_compilers_use_is_legal_and_as_long_as_the_assembler_makes_it() {
    for (text, words) in LEGAL {
        let decoded = decoded(words).unwrap_or_else(|| panic!("{text} is illegal"));
        assert_eq!(usize::from(decoded.words), words.len(), "{text}");
    }
}

#[test]
fn a_missing_second_word_is_illegal() {
    for (text, words) in LEGAL.iter().filter(|(_, words)| words.len() == 2) {
        assert_eq!(decoded(&words[..1]), None, "{text}");
    }
}

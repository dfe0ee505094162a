//! Tags (`rpmtag.h`), by their names there.

/// In the header of signatures: over the header, DSA or EdDSA.
pub const DSAHEADER: u32 = 267;
/// In the header of signatures: over the header, RSA.
pub const RSAHEADER: u32 = 268;
/// Text.
pub const NAME: u32 = 1000;
/// Text.
pub const VERSION: u32 = 1001;
/// Text.
pub const RELEASE: u32 = 1002;
/// A number, in front of the version.
pub const EPOCH: u32 = 1003;
/// Text.
pub const ARCH: u32 = 1022;
/// Whole paths, where there are no folders and names.
pub const OLDFILENAMES: u32 = 1027;
/// Bytes.
pub const FILESIZES: u32 = 1028;
/// Whether each file was installed.
pub const FILESTATES: u32 = 1029;
/// `st_mode`.
pub const FILEMODES: u32 = 1030;
/// Seconds since 1970.
pub const FILEMTIMES: u32 = 1034;
/// Hexadecimal digits; empty for what is no regular file.
pub const FILEDIGESTS: u32 = 1035;
/// Targets of symbolic links.
pub const FILELINKTOS: u32 = 1036;
/// Bits: configuration, documentation, ghost …
pub const FILEFLAGS: u32 = 1037;
/// Owners.
pub const FILEUSERNAME: u32 = 1039;
/// Groups.
pub const FILEGROUPNAME: u32 = 1040;
/// Bits: what `rpm -V` compares.
pub const FILEVERIFYFLAGS: u32 = 1045;
/// Which files are the same, together with the inode.
pub const FILEDEVICES: u32 = 1095;
/// Which files are the same, together with the device.
pub const FILEINODES: u32 = 1096;
/// Which folder each file is in.
pub const DIRINDEXES: u32 = 1116;
/// Names of files.
pub const BASENAMES: u32 = 1117;
/// Folders.
pub const DIRNAMES: u32 = 1118;
/// `cpio`.
pub const PAYLOADFORMAT: u32 = 1124;
/// Bytes, where one file has more than 4 GB.
pub const LONGFILESIZES: u32 = 5008;
/// Capabilities, as cap_to_text(3) writes them.
pub const FILECAPS: u32 = 5010;
/// The algorithm of the digests, by its number in OpenPGP.
pub const FILEDIGESTALGO: u32 = 5011;
/// Digests of the packed content.
pub const PAYLOADDIGEST: u32 = 5092;
/// Their algorithm.
pub const PAYLOADDIGESTALGO: u32 = 5093;

//! The script that iPXE runs: kernel and initramfs from beside the script, and the address that
//! iPXE was given by hand handed on.

use crate::boot::{COMMAND_LINE, INITRAMFS, KERNEL};

/// `boot.ipxe`.
///
/// Names are relative, so the folder can be served from anywhere. iPXE remembers which settings
/// came by DHCP (`netX.dhcp/ip`): such an address is left to kedge, which asks for its own lease
/// and renews it. Otherwise somebody set it by hand, where no DHCP is, and it becomes
/// `ip=CLIENT::GATEWAY:NETMASK:HOST::none` of dracut.cmdline(7), with the link named by
/// `BOOTIF=`. Source of the settings' names: iPXE's settings reference.
///
/// Packs lie beside the script too, so the system is told where that is: `${packs}` where somebody set it (a URL
/// of a folder), else where the script came from, which an iPXE of Debian 12 (2019) does not know; then the file
/// that DHCP named, which is this script when it was not chained by hand. The image takes the folder of a
/// script's URL.
pub fn script() -> String {
    format!(
        "#!ipxe\n\
         # kedge: boots the recovery image that lies beside this script.\n\
         set kedge:string BOOTIF=01-${{netX/mac:hexhyp}}\n\
         isset ${{packs}} && goto packs ||\n\
         isset ${{cwuri}} && set packs:string ${{cwuri}} && goto packs ||\n\
         isset ${{filename}} && set packs:string ${{filename}} ||\n\
         :packs\n\
         isset ${{packs}} && set kedge:string ${{kedge}} kedge.pack_url=${{packs}} ||\n\
         isset ${{netX.dhcp/ip}} || isset ${{netX/ip}} || goto load\n\
         isset ${{netX.dhcp/ip}} && goto load ||\n\
         set address:string ip=${{netX/ip}}::${{netX/gateway}}:${{netX/netmask}}:${{hostname}}::none\n\
         set kedge:string ${{kedge}} ${{address}}\n\
         isset ${{netX/dns}} && set kedge:string ${{kedge}} nameserver=${{netX/dns}} ||\n\
         :load\n\
         kernel {KERNEL} initrd={INITRAMFS} {COMMAND_LINE} ${{kedge}} || goto failed\n\
         initrd {INITRAMFS} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo kedge: could not load {KERNEL} and {INITRAMFS} from beside boot.ipxe (error ${{errno}})\n\
         echo Is the whole netboot folder there? This is the iPXE shell; 'autoboot' starts again.\n\
         shell\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_starts_with_ipxes_magic_and_loads_by_relative_names() {
        let script = script();
        assert!(script.starts_with("#!ipxe\n"));
        assert!(script.contains("\nkernel vmlinuz initrd=initramfs.cpio.xz "));
        assert!(!script.contains("://"));
    }
}

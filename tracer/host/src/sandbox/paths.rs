//! Restricts access to files and to the network, with Landlock.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

/// Version of Landlock whose restrictions are requested. Older kernels apply what they know.
const VERSION: ABI = ABI::V6;

/// Permits the use of folders, and of nothing else that is not open yet.
pub(super) fn restrict(folders: &[BorrowedFd<'_>]) -> Result<Option<String>, String> {
    let status = apply(folders).map_err(|err| err.to_string())?;
    let version = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled => return Err("disabled when the kernel was booted".into()),
        LandlockStatus::NotImplemented => {
            return Err("the kernel lacks it (Linux 5.13 with CONFIG_SECURITY_LANDLOCK)".into());
        }
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(Some(format!("version {version}"))),
        RulesetStatus::PartiallyEnforced => {
            let lacks = match version {
                ABI::V1 | ABI::V2 | ABI::V3 => "TCP ports and signals",
                _ => "signals",
            };
            Ok(Some(format!("version {version}, which does not restrict {lacks}")))
        }
        RulesetStatus::NotEnforced => Err("the kernel did not enforce it".into()),
    }
}

fn apply(folders: &[BorrowedFd<'_>]) -> Result<landlock::RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?;
    let rights = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    for folder in folders {
        ruleset = ruleset.add_rule(PathBeneath::new(folder, rights))?;
    }
    ruleset.restrict_self()
}

//! Images by the digests and names that people write.

use stocktake_core::ImageReference;

use crate::http::Problem;

/// A name of an image as people write it.
pub(super) fn reference(text: &str, parameter: &str) -> Result<ImageReference, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("`{parameter}`: {error}")))
}

/// Ids of images that a digest is of, and of those with the same manifest or configuration as they.
pub(super) fn images_of_digest(digest: &str) -> String {
    let same = |column: &str| {
        format!(
            " UNION SELECT other.id FROM image_digest AS dg CROSS JOIN image AS one CROSS JOIN image AS other \
             WHERE dg.account_id = $1 AND dg.digest = {digest} AND one.account_id = $1 AND one.id = dg.image_id \
             AND other.account_id = $1 AND other.{column} = one.{column}"
        )
    };
    format!(
        "SELECT dg.image_id AS id FROM image_digest AS dg WHERE dg.account_id = $1 AND dg.digest = {digest}{}{}",
        same("manifest_digest"),
        same("config_digest")
    )
}

/// Ids of uses of images that were asked for by a name, or that are known under it.
pub(super) fn uses_of_reference(repository: &str, tag: Option<&str>) -> String {
    let of_tag = |table: &str| tag.map(|tag| format!(" AND {table}.tag = {tag}")).unwrap_or_default();
    format!(
        "SELECT iu.id FROM image_name AS im CROSS JOIN image_use AS iu WHERE im.account_id = $1 AND im.repository = {repository}{} \
         AND iu.account_id = $1 AND iu.name_id = im.id \
         UNION SELECT iu.id FROM image_tag AS it CROSS JOIN image_use AS iu WHERE it.account_id = $1 \
         AND it.repository = {repository}{} AND iu.account_id = $1 AND iu.image_id = it.image_id",
        of_tag("im"),
        of_tag("it")
    )
}

//! What only the store on disk can get wrong.
